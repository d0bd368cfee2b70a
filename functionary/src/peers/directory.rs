//! Whom a member talks to: the part of the roster that the network needs.

use aquifer_federation::roster::{MemberIndex, Roster};

/// A member as the network knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the roster.
    pub index: MemberIndex,
    /// The member's name, for logs and for the name in its certificate.
    pub name: String,
    /// Where it listens for other members, `host:port`.
    pub address: String,
    /// Its TLS certificate, DER. The only one that is accepted for it.
    pub certificate: Vec<u8>,
}

/// All members, seen from one of them.
#[derive(Clone, Debug)]
pub struct Directory {
    me: MemberIndex,
    entries: Vec<Entry>,
}

impl Directory {
    /// The members of `roster` as `me` sees them.
    pub fn new(roster: &Roster, me: MemberIndex) -> Self {
        let entries = (0..)
            .zip(roster.members())
            .map(|(index, card)| Entry {
                index: MemberIndex(index),
                name: card.name.clone(),
                address: card.peer_address.clone(),
                certificate: card.tls_certificate.clone(),
            })
            .collect();
        Self::from_entries(me, entries)
    }

    pub(super) fn from_entries(me: MemberIndex, entries: Vec<Entry>) -> Self {
        Self { me, entries }
    }

    /// This member.
    pub fn me(&self) -> MemberIndex {
        self.me
    }

    /// Every member but this one, in roster order.
    pub fn others(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.index != self.me)
    }

    /// Another member by its position; `None` for this member itself and for positions outside of the roster.
    pub fn other(&self, index: MemberIndex) -> Option<&Entry> {
        self.others().find(|entry| entry.index == index)
    }

    /// The other member that this certificate (DER) belongs to.
    pub fn by_certificate(&self, certificate: &[u8]) -> Option<&Entry> {
        self.others().find(|entry| entry.certificate == certificate)
    }

    /// A member's name for logs.
    pub fn name(&self, index: MemberIndex) -> &str {
        self.entries.iter().find(|entry| entry.index == index).map_or("unknown", |entry| entry.name.as_str())
    }
}
