//! Which settings a valve works with, and what they say.

use super::*;
use crate::valve::settings::share_sat;

fn refused(change: impl FnOnce(&mut ValveSettings)) -> ValveSettingsError {
    let mut settings = ValveSettings::production();
    change(&mut settings);
    settings.check().unwrap_err()
}

#[test]
fn both_profiles_are_good_and_bad_values_are_named() {
    for profile in [ValveSettings::devnet(), ValveSettings::production(), plain()] {
        assert_eq!(profile.check(), Ok(()));
    }
    assert_eq!(refused(|s| s.window_seconds = 0), ValveSettingsError::Window(0));
    let too_long = MAX_VALVE_SECONDS + 1;
    assert_eq!(refused(|s| s.window_seconds = too_long), ValveSettingsError::Window(too_long));
    assert_eq!(refused(|s| s.window_limit_sat = 0), ValveSettingsError::WindowLimit(0));
    assert_eq!(refused(|s| s.window_limit_sat = u64::MAX), ValveSettingsError::WindowLimit(u64::MAX));
    for (batch, window) in [(0, 50), (51, 50), (1, 1_001)] {
        let error = refused(|s| (s.batch_share_permille, s.window_share_permille) = (batch, window));
        assert_eq!(error, ValveSettingsError::Shares { batch, window });
    }
    assert_eq!(refused(|s| s.delays.clear()), ValveSettingsError::DelayCount(0));
    assert_eq!(refused(|s| s.delays[0].from_amount_sat = 1), ValveSettingsError::DelayCount(4));
    let step = |from_amount_sat| DelayStep { from_amount_sat, delay_seconds: MAX_VALVE_SECONDS };
    assert_eq!(refused(|s| s.delays = (0..17).map(step).collect()), ValveSettingsError::DelayCount(17));
    let bad = [
        DelayStep { from_amount_sat: BTC, delay_seconds: 99_999 },
        DelayStep { from_amount_sat: 11 * BTC, delay_seconds: 3_600 },
        DelayStep { from_amount_sat: 11 * BTC, delay_seconds: too_long },
    ];
    for step in bad {
        assert_eq!(refused(|s| s.delays[2] = step), ValveSettingsError::Delay { position: 2, step });
    }
    let minimum =
        |kind, found_sat, dust_sat| ValveSettingsError::Minimum { kind, found_sat, dust_sat, limit_sat: 200 * BTC };
    assert_eq!(refused(|s| s.minimums.p2wpkh_sat = 293), minimum(PayoutKind::P2wpkh, 293, 294));
    assert_eq!(refused(|s| s.minimums.p2tr_sat = 201 * BTC), minimum(PayoutKind::P2tr, 201 * BTC, 330));
}

#[test]
fn the_delay_grows_with_the_amount() {
    let settings = ValveSettings::production();
    let table = [
        (0, 3_600),
        (BTC - 1, 3_600),
        (BTC, 10_800),
        (10 * BTC - 1, 10_800),
        (10 * BTC, 43_200),
        (50 * BTC, 86_400),
        (u64::MAX, 86_400),
    ];
    for (amount_sat, delay_seconds) in table {
        assert_eq!(settings.delay_seconds(amount_sat), delay_seconds, "{amount_sat}");
    }
}

#[test]
fn shares_are_rounded_down_and_never_overflow() {
    assert_eq!(share_sat(999, 1), 0);
    assert_eq!(share_sat(1_999, 500), 999);
    assert_eq!(share_sat(u64::MAX, 1_000), u64::MAX);
    assert_eq!(share_sat(u64::MAX, u32::MAX), u64::MAX);
    let settings = ValveSettings::production();
    assert_eq!(settings.batch_cap_sat(4_400 * BTC), 110 * BTC);
    assert_eq!(settings.window_cap_sat(4_400 * BTC), 200 * BTC);
    assert_eq!(settings.window_cap_sat(2_000 * BTC), 100 * BTC);
}

#[test]
fn a_file_names_every_setting_or_none() {
    let json = serde_json::to_value(ValveSettings::production()).unwrap();
    assert_eq!(serde_json::from_value::<ValveSettings>(json.clone()).unwrap(), ValveSettings::production());
    // Half a profile must not be filled up from another one.
    for name in ["window_seconds", "window_limit_sat", "batch_share_permille", "delays", "minimums"] {
        let mut partial = json.clone();
        partial.as_object_mut().unwrap().remove(name);
        assert!(serde_json::from_value::<ValveSettings>(partial).is_err(), "{name}");
    }
    let settings: Settings = serde_json::from_str("{}").unwrap();
    assert_eq!(settings.valve, ValveSettings::devnet());
}
