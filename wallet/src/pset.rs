//! Transactions that are not fully signed (PSET, the form of BIP 370 with Elements' fields), for wallets of several
//! cosigners and for whoever signs elsewhere.
//!
//! A PSET comes from somebody else, and what is signed cannot be taken back. So nothing of it is believed: a
//! [`Proposal`] exists only after [`Wallet::check`], and only a proposal can be signed, combined or finished. Checked is:
//!
//! * every input is an unspent coin of this wallet, with the amount that the wallet itself unblinded, so that a PSET
//!   cannot get a signature for another wallet with the same seed or hide what it spends;
//! * every output's asset and amount is proven against the commitment that the signature covers, and per asset the
//!   inputs are the outputs and the fee, so that nothing is hidden;
//! * what counts as change goes to a script that the wallet watches, and can be unblinded by it;
//! * every signature commits to the whole transaction, and those that are there are valid.
//!
//! Scripts and key origins in the PSET are replaced by those of the wallet's own descriptor.

use std::collections::{BTreeMap, BTreeSet};

use aquifer_assets::peg::parse_pegout;
use bitcoin::bip32::Fingerprint;
use elements::pset::{Input, PartiallySignedTransaction};
use elements::{Address, AddressParams, AssetId, OutPoint, Script, Transaction};
use lwk_common::{SighashCtx, is_taproot_input, set_genesis_hash};
use lwk_wollet::WalletTxOut;
use lwk_wollet::elements_miniscript::ForEachKey;
use secp256k1_zkp::{Message, SECP256K1, XOnlyPublicKey, ecdsa};

use crate::keystore::{Keys, signers};
use crate::wallet::{FeeRate, Recipient, Wallet, WalletError};

/// `SIGHASH_ALL`, the last byte of an ECDSA signature that commits to the whole transaction.
const SIGHASH_ALL: u8 = 0x01;

/// A PSET cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PsetError {
    /// Not a PSET.
    #[error("this is not a PSET in base64 ({0}); `aquifer send` writes one in a wallet of several cosigners")]
    NotAPset(String),
    /// The wallet cannot do its part.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// Something in it is missing, or contradicts what it commits to.
    #[error("the PSET does not show what it does: {0}; do not sign it, and ask its maker for another one")]
    NotShown(String),
    /// An input of somebody else.
    #[error(
        "input {index} spends {outpoint}, which is not a coin of this wallet; choose the wallet with --wallet, and do not sign if it is none of yours"
    )]
    ForeignInput {
        /// Number of the input.
        index: usize,
        /// What it spends.
        outpoint: OutPoint,
    },
    /// A coin that is gone.
    #[error(
        "input {index} spends {outpoint}, which is spent already: this or another transaction was sent before; `aquifer history` shows it"
    )]
    Spent {
        /// Number of the input.
        index: usize,
        /// What it spends.
        outpoint: OutPoint,
    },
    /// An input that issues an asset.
    #[error("input {0} issues an asset, which this program does not sign together with others")]
    Issuance(usize),
    /// Signatures that would leave parts of the transaction open.
    #[error("the PSET asks for signatures that do not cover the whole transaction; do not sign it")]
    OpenSignatures,
    /// Inputs and outputs that differ.
    #[error("the PSET spends {spent} of asset {asset} and shows {shown}; do not sign it")]
    Unbalanced {
        /// The asset.
        asset: AssetId,
        /// Sum of the inputs, in its smallest unit.
        spent: u64,
        /// Sum of the outputs and the fee, in its smallest unit.
        shown: u64,
    },
    /// A signature that does not verify, or is of nobody.
    #[error("a signature at input {0} is not valid; ask the signer for the PSET again")]
    BadSignature(usize),
    /// The seed is not one of the signers.
    #[error("the seed of this wallet ({0}) is not among the signers of its own descriptor; restore the wallet anew")]
    NotASigner(Fingerprint),
    /// Two PSETs that are not of the same transaction.
    #[error("the PSETs are not of the same transaction ({0}); combine only copies of one PSET")]
    Different(String),
    /// Signatures are missing.
    #[error(
        "{have} of {need} signatures are there; one of {} has to run `aquifer pset sign` first", names(.missing)
    )]
    Incomplete {
        /// Signatures at the input that has the fewest.
        have: usize,
        /// Signatures needed.
        need: u32,
        /// Who has not signed.
        missing: BTreeSet<Fingerprint>,
    },
}

fn names(fingerprints: &BTreeSet<Fingerprint>) -> String {
    fingerprints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Reads a PSET in base64.
pub fn parse(text: &str) -> Result<PartiallySignedTransaction, PsetError> {
    text.trim().parse().map_err(|error: elements::pset::ParseError| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        PsetError::NotAPset(cause)
    })
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To an address of this chain.
    Address(Address),
    /// To a script on Bitcoin: a peg-out.
    Pegout(bitcoin::ScriptBuf),
    /// To nobody: destroyed.
    Burn,
    /// To a script without an address.
    Script(Script),
}

/// An output that leaves the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub destination: Destination,
    /// The asset.
    pub asset: AssetId,
    /// Amount in its smallest unit.
    pub amount: u64,
}

/// A PSET whose every amount and signature is checked.
#[derive(Clone, Debug)]
pub struct Proposal {
    pset: PartiallySignedTransaction,
    /// What leaves the wallet, without the fee.
    pub outgoing: Vec<Outgoing>,
    /// What comes back to the wallet, per asset in its smallest unit.
    pub change: BTreeMap<AssetId, u64>,
    /// The fee in satoshi.
    pub fee_sat: u64,
    /// Who has signed every input.
    pub signed: BTreeSet<Fingerprint>,
    /// Who has not.
    pub missing: BTreeSet<Fingerprint>,
    /// Signatures that every input needs.
    pub needed: u32,
    have: usize,
}

impl Proposal {
    /// Whether enough signatures are there.
    pub fn is_complete(&self) -> bool {
        u32::try_from(self.have).is_ok_and(|have| have >= self.needed)
    }

    /// The first letters of the id that all copies of the PSET share.
    pub fn short_name(&self) -> String {
        self.pset.unique_id().map_or_else(|_| String::new(), |id| id.to_string().chars().take(8).collect())
    }

    /// The PSET in base64.
    pub fn to_base64(&self) -> String {
        self.pset.to_string()
    }
}

impl Wallet {
    /// Builds a payment that nobody has signed yet.
    pub fn propose(&self, recipients: &[Recipient], rate: FeeRate) -> Result<Proposal, PsetError> {
        let pset = self.build_unsigned(rate, |builder| Ok(Recipient::add_all(recipients, builder)))?;
        self.check(pset)
    }

    /// Checks a PSET against what this wallet knows of the chain. Sync before.
    pub fn check(&self, pset: PartiallySignedTransaction) -> Result<Proposal, PsetError> {
        let spent = self.spent_coins(&pset)?;
        if let Some(index) = pset.inputs().iter().position(Input::has_issuance) {
            return Err(PsetError::Issuance(index));
        }
        let pset = self.with_own_scripts(pset)?;
        let details = self.wollet().get_details(&pset).map_err(|error| PsetError::NotShown(error.to_string()))?;
        if details.has_non_default_sighash() {
            return Err(PsetError::OpenSignatures);
        }

        let pegged = self.chain().pegged_asset();
        let (mut outgoing, mut change, mut fee_sat) = (Vec::new(), BTreeMap::new(), 0_u64);
        let mut shown = Sums::default();
        for (output, content) in pset.outputs().iter().zip(details.outputs()) {
            let (Some(asset), Some(amount)) = (content.asset(), content.satoshi()) else {
                return Err(PsetError::NotShown(format!("the amount of output {} is not proven", content.vout())));
            };
            shown.add(asset, amount)?;
            if content.is_fee() {
                if asset != pegged {
                    return Err(PsetError::NotShown(format!("it pays a fee in asset {asset}")));
                }
                fee_sat = fee_sat.saturating_add(amount);
            } else if content.is_owned() {
                let sum: &mut u64 = change.entry(asset).or_default();
                *sum = sum.saturating_add(amount);
            } else {
                let destination = self.destination(output, content.vout());
                outgoing.push(Outgoing { destination, asset, amount });
            }
        }
        let mut sums = Sums::default();
        for coin in &spent {
            sums.add(coin.unblinded.asset, coin.unblinded.value)?;
        }
        sums.compare(&shown)?;

        let by_input = self.valid_signatures(&pset, &spent)?;
        let all = signers(&self.wollet().wollet_descriptor());
        let (signed, missing) =
            all.into_iter().partition(|signer| by_input.iter().all(|signatures| signatures.contains(signer)));
        let have = by_input.iter().map(BTreeSet::len).min().unwrap_or_default();
        Ok(Proposal { pset, outgoing, change, fee_sat, signed, missing, needed: self.account().threshold(), have })
    }

    /// Adds the signatures of this wallet's seed. Signing twice changes nothing.
    pub fn sign(&self, proposal: &Proposal, keys: &Keys) -> Result<Proposal, PsetError> {
        let own = keys.fingerprint();
        if !proposal.signed.contains(&own) && !proposal.missing.contains(&own) {
            return Err(PsetError::NotASigner(own));
        }
        let mut pset = proposal.pset.clone();
        keys.sign(&mut pset).map_err(WalletError::from)?;
        let signed = self.check(pset)?;
        if signed.signed.contains(&own) { Ok(signed) } else { Err(WalletError::NothingSigned.into()) }
    }

    /// Puts the signatures of several copies of one PSET together.
    pub fn combine(&self, psets: Vec<PartiallySignedTransaction>) -> Result<Proposal, PsetError> {
        // Each is checked by itself first, so that a bad signature cannot hide behind a good one.
        let checked: Vec<PartiallySignedTransaction> =
            psets.into_iter().map(|pset| self.check(pset).map(|proposal| proposal.pset)).collect::<Result<_, _>>()?;
        let combined = self.wollet().combine(&checked).map_err(|error| PsetError::Different(error.to_string()))?;
        self.check(combined)
    }

    /// The transaction of a proposal that has enough signatures.
    pub fn finish(&self, proposal: &Proposal) -> Result<Transaction, PsetError> {
        if !proposal.is_complete() {
            return Err(PsetError::Incomplete {
                have: proposal.have,
                need: proposal.needed,
                missing: proposal.missing.clone(),
            });
        }
        let mut pset = proposal.pset.clone();
        Ok(self.wollet().finalize(&mut pset).map_err(WalletError::from)?)
    }

    /// The coins that the inputs spend, as this wallet itself unblinded them.
    fn spent_coins(&self, pset: &PartiallySignedTransaction) -> Result<Vec<WalletTxOut>, PsetError> {
        let coins: BTreeMap<OutPoint, WalletTxOut> =
            self.wollet().txos().map_err(WalletError::from)?.into_iter().map(|coin| (coin.outpoint, coin)).collect();
        let mut seen = BTreeSet::new();
        pset.inputs()
            .iter()
            .enumerate()
            .map(|(index, input)| {
                let outpoint = OutPoint::new(input.previous_txid, input.previous_output_index);
                let foreign = || PsetError::ForeignInput { index, outpoint };
                let coin = coins.get(&outpoint).ok_or_else(foreign)?;
                if coin.is_spent || !seen.insert(outpoint) {
                    return Err(PsetError::Spent { index, outpoint });
                }
                // A signature of segwit version 0 commits to the amount of what it spends, not to the asset.
                let tx = self.transaction(&outpoint.txid)?.ok_or_else(foreign)?.tx;
                let output = usize::try_from(outpoint.vout).ok().and_then(|vout| tx.output.get(vout));
                let (Some(output), Some(named)) = (output, &input.witness_utxo) else { return Err(foreign()) };
                let same = (output.asset, output.value, &output.script_pubkey)
                    == (named.asset, named.value, &named.script_pubkey);
                if same { Ok(coin.clone()) } else { Err(PsetError::NotShown(format!("{outpoint} is another coin"))) }
            })
            .collect()
    }

    /// Replaces scripts, key origins and the name of the chain by what this wallet's descriptor says.
    fn with_own_scripts(&self, mut pset: PartiallySignedTransaction) -> Result<PartiallySignedTransaction, PsetError> {
        for input in pset.inputs_mut() {
            *input = Input {
                bip32_derivation: BTreeMap::new(),
                tap_key_origins: BTreeMap::new(),
                tap_scripts: BTreeMap::new(),
                tap_script_sigs: BTreeMap::new(),
                tap_internal_key: None,
                tap_merkle_root: None,
                redeem_script: None,
                witness_script: None,
                final_script_sig: None,
                final_script_witness: None,
                ..std::mem::take(input)
            };
        }
        for output in pset.outputs_mut() {
            output.bip32_derivation.clear();
            output.tap_key_origins.clear();
        }
        set_genesis_hash(&mut pset, &self.chain().lwk());
        self.wollet().add_details(&mut pset).map_err(WalletError::from)?;
        Ok(pset)
    }

    fn destination(&self, output: &elements::pset::Output, vout: u32) -> Destination {
        let script = &output.script_pubkey;
        let blinder = output.blinding_key.map(|key| key.inner);
        if let Some(address) = Address::from_script(script, blinder, &AddressParams::ELEMENTS) {
            return Destination::Address(address);
        }
        let outpoint = OutPoint::new(elements::Txid::from_byte_array([0; 32]), vout);
        if let Some(request) = parse_pegout(&self.chain().file().params, outpoint, &(&output.to_txout()).into()) {
            return Destination::Pegout(request.parent_script);
        }
        if script.is_provably_unspendable() { Destination::Burn } else { Destination::Script(script.clone()) }
    }

    /// Who has signed each input. A signature that is not valid, or not of a signer, is an error.
    fn valid_signatures(
        &self,
        pset: &PartiallySignedTransaction,
        spent: &[WalletTxOut],
    ) -> Result<Vec<BTreeSet<Fingerprint>>, PsetError> {
        let not_shown = |error: lwk_common::SighashError| PsetError::NotShown(error.to_string());
        let descriptor = self.wollet().wollet_descriptor();
        let mut sighashes = SighashCtx::new(pset, Some(self.chain().genesis())).map_err(not_shown)?;
        let mut by_input = Vec::with_capacity(spent.len());
        for (index, (input, coin)) in pset.inputs().iter().zip(spent).enumerate() {
            let bad = || PsetError::BadSignature(index);
            let own = descriptor.definite_descriptor(coin.ext_int, coin.wildcard_index).map_err(WalletError::from)?;
            let mut keys = BTreeMap::new();
            own.for_each_key(|key| {
                if let Ok(public) = key.derive_public_key(SECP256K1) {
                    keys.insert(public, key.master_fingerprint());
                }
                true
            });
            let mut signed = BTreeSet::new();
            if is_taproot_input(input) {
                if let Some(signature) = &input.tap_key_sig {
                    let message = sighashes.taproot_msg(index, None).map_err(not_shown)?;
                    let program = coin.script_pubkey.as_bytes().get(2..).unwrap_or_default();
                    let key = XOnlyPublicKey::from_slice(program).map_err(|_| bad())?;
                    if input.schnorr_hash_ty() != Some(signature.hash_ty) {
                        return Err(bad());
                    }
                    SECP256K1
                        .verify_schnorr(&signature.sig, &Message::from_digest(message.to_byte_array()), &key)
                        .map_err(|_| bad())?;
                    signed.extend(keys.values());
                }
            } else if !input.partial_sigs.is_empty() {
                let message = Message::from_digest(sighashes.ecdsa_msg(index).map_err(not_shown)?.to_byte_array());
                for (public, signature) in &input.partial_sigs {
                    let signer = keys.get(public).ok_or_else(bad)?;
                    let Some((&SIGHASH_ALL, der)) = signature.split_last() else { return Err(bad()) };
                    let der = ecdsa::Signature::from_der(der).map_err(|_| bad())?;
                    SECP256K1.verify_ecdsa(&message, &der, &public.inner).map_err(|_| bad())?;
                    signed.insert(*signer);
                }
            }
            by_input.push(signed);
        }
        Ok(by_input)
    }
}

/// Sums per asset.
#[derive(Default)]
struct Sums(BTreeMap<AssetId, u64>);

impl Sums {
    fn add(&mut self, asset: AssetId, amount: u64) -> Result<(), PsetError> {
        let sum = self.0.entry(asset).or_default();
        *sum = sum
            .checked_add(amount)
            .ok_or_else(|| PsetError::NotShown(format!("it has more than 2^64 of asset {asset}")))?;
        Ok(())
    }

    fn compare(&self, shown: &Self) -> Result<(), PsetError> {
        let assets: BTreeSet<AssetId> = self.0.keys().chain(shown.0.keys()).copied().collect();
        let of = |sums: &Self, asset| sums.0.get(asset).copied().unwrap_or_default();
        match assets.iter().find(|asset| of(self, asset) != of(shown, asset)) {
            Some(asset) => {
                Err(PsetError::Unbalanced { asset: *asset, spent: of(self, asset), shown: of(shown, asset) })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
