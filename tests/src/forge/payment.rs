//! Transactions of users: confidential or not, with issuances and peg-ins, signed for P2WPKH.

use aquifer_assets::primitives::{Nonce, Transaction, TxIn, TxOut, TxOutWitness, Witness};
use aquifer_assets::script::SighashData;
use aquifer_assets::transaction::issued_assets;
use elements::confidential::{Asset, AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::issuance::{AssetBlindingNonce, AssetEntropy};
use elements::{AssetId, AssetIssuance, BlockHash, LockTime, OutPoint, Script, Sequence, TxOutSecrets};
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{Message, PublicKey, SECP256K1, SecretKey};

use super::ForgeError;
use super::proofs::{commitment, generator, prove_range, prove_range_to, prove_surjection};

/// Minimum and bits of an honest range proof.
const HONEST_RANGE: (u64, u8) = (1, 36);

/// The hash type of an ordinary signature.
const SIGHASH_ALL: u8 = 1;

/// Somebody with one key, paid to P2WPKH.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    key: SecretKey,
}

impl Owner {
    /// A new one.
    pub fn new(rng: &mut ChaCha20Rng) -> Self {
        Owner { key: SecretKey::new(rng) }
    }

    fn public(&self) -> bitcoin::PublicKey {
        bitcoin::PublicKey::new(self.key.public_key(SECP256K1))
    }

    /// The script that pays the owner.
    pub fn script(&self) -> Script {
        let hash: [u8; 20] = *self.public().pubkey_hash().as_ref();
        Script::from([[0, 20].as_slice(), &hash].concat())
    }
}

/// Where a coin comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// An output of the ledger.
    Output,
    /// A deposit, shown by this witness.
    Deposit(Box<Witness>),
}

/// Something that can be spent, with everything its owner knows.
#[derive(Clone, Debug)]
pub struct Coin {
    /// Its name.
    pub outpoint: OutPoint,
    /// The output; for a deposit what it counts as.
    pub output: TxOut,
    /// What is behind the commitments.
    pub secrets: TxOutSecrets,
    /// Who can sign for it.
    pub owner: Owner,
    /// Where it comes from.
    pub origin: Origin,
}

/// Whether asset and amount are hidden.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Both are shown.
    Explicit,
    /// Both are hidden.
    Confidential,
}

/// An output to make.
#[derive(Clone, Debug)]
pub struct Pay {
    /// The asset.
    pub asset: AssetId,
    /// The amount, in the asset's smallest unit.
    pub value: u64,
    /// The output script.
    pub script: Script,
    /// Whether it is hidden.
    pub shape: Shape,
    /// Minimum and bits of the range proof.
    pub range: (u64, u8),
    /// The blinding key of whoever can open it, where it is hidden; without one, nobody can.
    pub reader: Option<PublicKey>,
}

impl Pay {
    /// An output that shows everything.
    pub fn explicit(asset: AssetId, value: u64, script: Script) -> Self {
        Pay { asset, value, script, shape: Shape::Explicit, range: HONEST_RANGE, reader: None }
    }

    /// An output that hides asset and amount.
    pub fn confidential(asset: AssetId, value: u64, script: Script) -> Self {
        Pay { shape: Shape::Confidential, ..Pay::explicit(asset, value, script) }
    }
}

/// An issuance, in the first input.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Zero for a new asset; the blinding factor of the token that is spent for a reissuance.
    pub nonce: [u8; 32],
    /// The contract hash of a new asset, the entropy of an existing one.
    pub entropy: [u8; 32],
    /// The amount.
    pub amount: u64,
    /// The reissuance tokens.
    pub tokens: u64,
    /// Whether the amounts are hidden.
    pub shape: Shape,
    /// Bits of the range proofs of hidden amounts.
    pub bits: u8,
}

impl Issue {
    /// A new asset.
    pub fn new(contract: [u8; 32], amount: u64, tokens: u64, shape: Shape) -> Self {
        Issue { nonce: [0; 32], entropy: contract, amount, tokens, shape, bits: HONEST_RANGE.1 }
    }

    /// More of an asset, for whoever spends `token` in the first input.
    pub fn again(entropy: [u8; 32], token: &Coin, amount: u64, shape: Shape) -> Self {
        let nonce = *token.secrets.asset_bf.into_inner().as_ref();
        Issue { nonce, entropy, amount, tokens: 0, shape, bits: HONEST_RANGE.1 }
    }

    /// Asset and token that this makes in an input that spends `coin`.
    pub fn assets(&self, coin: &Coin) -> Option<(AssetId, AssetId)> {
        let input = TxIn { previous_output: coin.outpoint, asset_issuance: self.fields(), ..TxIn::default() };
        let (entropy, asset, _) = issued_assets(&input)?;
        let token = AssetId::reissuance_token_from_entropy(entropy, self.shape == Shape::Confidential);
        Some((asset, token))
    }

    /// The issuance with its amounts shown.
    fn fields(&self) -> AssetIssuance {
        let amount = |amount: u64| if amount == 0 { Value::Null } else { Value::Explicit(amount) };
        AssetIssuance {
            asset_blinding_nonce: AssetBlindingNonce::from_byte_array(self.nonce),
            asset_entropy: AssetEntropy::from_byte_array(self.entropy),
            amount: amount(self.amount),
            inflation_keys: amount(self.tokens),
        }
    }
}

/// A signed transaction and everything its maker knows.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The transaction.
    pub transaction: Transaction,
    /// What it spends, in the order of its inputs.
    pub coins: Vec<Coin>,
    /// What goes in: each coin, then what its input issues. The targets of surjection proofs.
    pub incoming: Vec<TxOutSecrets>,
    /// What is behind the outputs, fee excluded, in their order.
    pub secrets: Vec<TxOutSecrets>,
}

impl Payment {
    /// Spends `coins` for `pays` and a fee of the pegged asset, which is that of `fee`. Amounts need not add up.
    ///
    /// # Errors
    /// [`ForgeError::Proof`] if a proof that it needs does not exist.
    pub fn new(rng: &mut ChaCha20Rng, coins: &[Coin], pays: &[Pay], fee: (AssetId, u64)) -> Result<Self, ForgeError> {
        Self::issuing(rng, coins, None, pays, fee)
    }

    /// The same with an issuance in the first input.
    ///
    /// # Errors
    /// As [`Payment::new`].
    pub fn issuing(
        rng: &mut ChaCha20Rng,
        coins: &[Coin],
        issue: Option<&Issue>,
        pays: &[Pay],
        fee: (AssetId, u64),
    ) -> Result<Self, ForgeError> {
        let mut transaction = Transaction { version: 2, lock_time: LockTime::ZERO, input: vec![], output: vec![] };
        let mut incoming = Vec::new();
        for (vin, coin) in coins.iter().enumerate() {
            let mut input = TxIn { previous_output: coin.outpoint, sequence: Sequence(0xffff_fffd), ..TxIn::default() };
            if let Origin::Deposit(witness) = &coin.origin {
                input.is_pegin = true;
                input.witness.pegin_witness = (**witness).clone();
            }
            incoming.push(coin.secrets);
            if let (0, Some(issue)) = (vin, issue) {
                incoming.extend(put_issuance(rng, &mut input, coin, issue)?);
            }
            transaction.input.push(input);
        }
        let (mut outputs, secrets) = outputs(rng, &incoming, pays)?;
        outputs.push(TxOut::new_fee(fee.1, fee.0));
        transaction.output = outputs;
        let mut payment = Payment { transaction, coins: coins.to_vec(), incoming, secrets };
        payment.sign();
        Ok(payment)
    }

    /// The transaction with one thing changed, signed anew.
    pub fn with(&self, change: impl FnOnce(&mut Transaction)) -> Transaction {
        let mut changed = self.clone();
        change(&mut changed.transaction);
        changed.sign();
        changed.transaction
    }

    /// An output as a coin of `owner`, to be spent once the transaction is in the chain.
    ///
    /// # Errors
    /// [`ForgeError::NoOutput`] if there is no such output.
    pub fn coin(&self, vout: u32, owner: Owner) -> Result<Coin, ForgeError> {
        let index = usize::try_from(vout).unwrap_or(usize::MAX);
        let (output, secrets) =
            self.transaction.output.get(index).zip(self.secrets.get(index)).ok_or(ForgeError::NoOutput(index))?;
        Ok(Coin {
            outpoint: OutPoint::new(self.transaction.txid(), vout),
            output: TxOut { witness: TxOutWitness::default(), ..output.clone() },
            secrets: *secrets,
            owner,
            origin: Origin::Output,
        })
    }

    fn sign(&mut self) {
        // Segwit version 0 signs neither the chain nor the outputs that are spent, but for their values.
        let data = SighashData::new(&self.transaction, &[], BlockHash::from_byte_array([0; 32]));
        let signatures: Vec<Witness> = self
            .coins
            .iter()
            .take(self.transaction.input.len())
            .enumerate()
            .map(|(vin, coin)| {
                let public = coin.owner.public();
                let code = Script::new_p2pkh(&public.pubkey_hash());
                let digest = data.segwit_v0(vin, code.as_bytes(), &coin.output.value, SIGHASH_ALL);
                let message = Message::from_digest(digest.unwrap_or_default());
                let mut signature = SECP256K1.sign_ecdsa(&message, &coin.owner.key).serialize_der().to_vec();
                signature.push(SIGHASH_ALL);
                Witness::from_slice(&[signature, public.to_bytes()])
            })
            .collect();
        for (input, signature) in self.transaction.input.iter_mut().zip(signatures) {
            input.witness.script_witness = signature;
        }
    }
}

/// An output without commitments and proofs.
pub(super) fn explicit(asset: AssetId, value: u64, script_pubkey: Script) -> TxOut {
    TxOut {
        asset: Asset::Explicit(asset),
        value: Value::Explicit(value),
        nonce: Nonce::Null,
        script_pubkey,
        witness: TxOutWitness::default(),
    }
}

/// Puts an issuance into an input; gives what it adds to what goes in.
fn put_issuance(
    rng: &mut ChaCha20Rng,
    input: &mut TxIn,
    coin: &Coin,
    issue: &Issue,
) -> Result<Vec<TxOutSecrets>, ForgeError> {
    input.asset_issuance = issue.fields();
    let Some((asset, token)) = issue.assets(coin) else { return Ok(Vec::new()) };
    let fields = &mut input.asset_issuance;
    let witness = &mut input.witness;
    let mut made = Vec::new();
    for (asset, amount, field, proof) in [
        (asset, issue.amount, &mut fields.amount, &mut witness.amount_rangeproof),
        (token, issue.tokens, &mut fields.inflation_keys, &mut witness.inflation_keys_rangeproof),
    ] {
        if amount == 0 {
            continue;
        }
        let mut secrets = TxOutSecrets::new(asset, AssetBlindingFactor::zero(), amount, ValueBlindingFactor::zero());
        if issue.shape == Shape::Confidential {
            secrets.value_bf = ValueBlindingFactor::new(rng);
            *field = Value::Confidential(commitment(&secrets));
            *proof = prove_range(rng, &secrets, &Script::new(), 0, issue.bits)?;
        }
        made.push(secrets);
    }
    Ok(made)
}

/// The outputs; the last that is hidden takes up the blinding of all that goes in and out.
fn outputs(
    rng: &mut ChaCha20Rng,
    incoming: &[TxOutSecrets],
    pays: &[Pay],
) -> Result<(Vec<TxOut>, Vec<TxOutSecrets>), ForgeError> {
    let last = pays.iter().rposition(|pay| pay.shape == Shape::Confidential);
    let mut secrets: Vec<TxOutSecrets> = pays
        .iter()
        .map(|pay| match pay.shape {
            Shape::Explicit => {
                TxOutSecrets::new(pay.asset, AssetBlindingFactor::zero(), pay.value, ValueBlindingFactor::zero())
            }
            Shape::Confidential => {
                let asset_bf = AssetBlindingFactor::new(rng);
                TxOutSecrets::new(pay.asset, asset_bf, pay.value, ValueBlindingFactor::new(rng))
            }
        })
        .collect();
    let ins: Vec<_> = incoming.iter().map(TxOutSecrets::value_blind_inputs).collect();
    let others = |(vout, secrets): (usize, &TxOutSecrets)| (Some(vout) != last).then(|| secrets.value_blind_inputs());
    let outs: Vec<_> = secrets.iter().enumerate().filter_map(others).collect();
    if let Some(secrets) = last.and_then(|last| secrets.get_mut(last)) {
        secrets.value_bf = ValueBlindingFactor::last(SECP256K1, secrets.value, secrets.asset_bf, &ins, &outs);
    }
    let mut made = Vec::new();
    for (pay, secrets) in pays.iter().zip(&secrets) {
        let mut output = explicit(pay.asset, pay.value, pay.script.clone());
        if pay.shape == Shape::Confidential {
            output.asset = Asset::Confidential(generator(secrets));
            output.value = Value::Confidential(commitment(secrets));
            let ephemeral = SecretKey::new(rng);
            output.nonce = Nonce::from(ephemeral.public_key(SECP256K1));
            output.witness.rangeproof = match pay.reader {
                None => prove_range(rng, secrets, &pay.script, pay.range.0, pay.range.1)?,
                Some(reader) => prove_range_to(&reader, ephemeral, secrets, &pay.script, pay.range)?,
            };
            output.witness.surjection_proof = prove_surjection(rng, secrets, incoming)?;
        }
        made.push(output);
    }
    Ok((made, secrets))
}
