//! Reading scripts, and the two ways in which old scripts are edited before they are signed.

use super::opcode;

/// One step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) opcode: u8,
    /// What it pushes; empty for other operations.
    pub(crate) data: &'a [u8],
}

/// The steps of a script. A push that is cut short gives `None` and ends it.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    pub(crate) fn new(script: &'a [u8]) -> Self {
        Self { rest: script }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn push(&mut self, opcode: u8, length: usize) -> Option<Item<'a>> {
        let (data, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Item { opcode, data })
    }

    fn step(&mut self, opcode: u8) -> Option<Item<'a>> {
        let length = match opcode {
            0..opcode::PUSHDATA1 => usize::from(opcode),
            opcode::PUSHDATA1 => usize::from(u8::from_le_bytes(self.prefix()?)),
            opcode::PUSHDATA2 => usize::from(u16::from_le_bytes(self.prefix()?)),
            opcode::PUSHDATA4 => usize::try_from(u32::from_le_bytes(self.prefix()?)).ok()?,
            _ => 0,
        };
        self.push(opcode, length)
    }

    fn prefix<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (prefix, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*prefix)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Option<Item<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (opcode, rest) = self.rest.split_first()?;
        self.rest = rest;
        let item = self.step(*opcode);
        if item.is_none() {
            self.rest = &[];
        }
        Some(item)
    }
}

impl Item<'_> {
    /// Whether a push is in its shortest form.
    pub(super) fn is_minimal_push(&self) -> bool {
        match self.data {
            [] => self.opcode == opcode::OP_0,
            [1..=16 | 0x81] => false,
            data => match data.len() {
                0..=75 => usize::from(self.opcode) == data.len(),
                76..=255 => self.opcode == opcode::PUSHDATA1,
                256..=65_535 => self.opcode == opcode::PUSHDATA2,
                _ => true,
            },
        }
    }
}

/// Whether a script does nothing but push. A push that is cut short is none; `RESERVED` counts as one.
pub(super) fn is_push_only(script: &[u8]) -> bool {
    Items::new(script).all(|item| item.is_some_and(|item| item.opcode <= opcode::OP_16))
}

/// The push of some bytes by their length, as it stands in a script. At most 65,535 bytes: longer ones are no element.
pub(super) fn push_of(data: &[u8]) -> Vec<u8> {
    let prefix = match (u8::try_from(data.len()), u16::try_from(data.len())) {
        (Ok(length), _) if length < opcode::PUSHDATA1 => vec![length],
        (Ok(length), _) => vec![opcode::PUSHDATA1, length],
        (_, Ok(length)) => [&[opcode::PUSHDATA2], length.to_le_bytes().as_slice()].concat(),
        _ => vec![],
    };
    [prefix.as_slice(), data].concat()
}

/// A script without the places where `pattern` stands at the start of a step, and how many there were: how the first
/// Bitcoin took a signature out of the script that it signs.
pub(super) fn find_and_delete(script: &[u8], pattern: &[u8]) -> (Vec<u8>, usize) {
    let mut kept = Vec::with_capacity(script.len());
    let mut found = 0;
    let mut rest = script;
    if pattern.is_empty() {
        return (script.to_vec(), 0);
    }
    loop {
        while let Some(after) = rest.strip_prefix(pattern) {
            rest = after;
            found += 1;
        }
        let mut items = Items::new(rest);
        let Some(Some(_)) = items.next() else { break };
        let read = rest.len().saturating_sub(items.rest().len());
        kept.extend_from_slice(rest.get(..read).unwrap_or_default());
        rest = items.rest();
    }
    kept.extend_from_slice(rest);
    (kept, found)
}

/// A script without its CODESEPARATORs. What follows a push that is cut short stays as it is.
pub(super) fn without_code_separators(script: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(script.len());
    let mut rest = script;
    loop {
        let mut items = Items::new(rest);
        let Some(Some(item)) = items.next() else { break };
        let read = rest.len().saturating_sub(items.rest().len());
        if item.opcode != opcode::CODESEPARATOR {
            kept.extend_from_slice(rest.get(..read).unwrap_or_default());
        }
        rest = items.rest();
    }
    kept.extend_from_slice(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_deleted_at_the_start_of_steps_only() {
        assert_eq!(find_and_delete(&[1, 2, 1, 2, 0x51], &[1, 2]), (vec![0x51], 2));
        assert_eq!(find_and_delete(&[2, 1, 2, 1, 2], &[1, 2]), (vec![2, 1, 2], 1), "inside a push it stays");
        assert_eq!(find_and_delete(&[0x51, 1, 2, 5, 1, 2], &[1, 2]), (vec![0x51, 5, 1, 2], 1), "a push cut short");
        assert_eq!(find_and_delete(&[0x51], &[]), (vec![0x51], 0));
        assert_eq!(find_and_delete(&[0, 0x51, 0], &push_of(&[])), (vec![0x51], 2), "an empty signature is a 0");
    }

    #[test]
    fn code_separators_are_left_out() {
        assert_eq!(without_code_separators(&[0xab, 0x51, 1, 0xab, 0xab, 0x52]), [0x51, 1, 0xab, 0x52]);
        assert_eq!(without_code_separators(&[0xab, 3, 0xab]), [3, 0xab], "a push cut short");
    }

    #[test]
    fn pushes_and_their_shortest_forms() {
        for length in [0, 2, 75, 76, 255, 256, 520] {
            let script = push_of(&vec![7; length]);
            let item = Items::new(&script).next().flatten();
            assert_eq!(item.map(|item| item.data.len()), Some(length));
            assert_eq!(item.map(|item| item.is_minimal_push()), Some(true), "{length}");
        }
        for script in [[1, 0x10].as_slice(), &[1, 0x81], &[0x4c, 0], &[0x4c, 1, 9], &[0x4d, 1, 0, 9]] {
            let minimal = Items::new(script).next().flatten().map(|item| item.is_minimal_push());
            assert_eq!(minimal, Some(false), "{script:?}");
        }
        assert!(is_push_only(&[0x50, 1, 1, 0x60]) && !is_push_only(&[0x61]) && !is_push_only(&[2, 1]));
    }
}
