//! Too many of one address, and too many who listen.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use aquifer_tests::HarnessError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::attacker;
use crate::ports::{PATIENCE, Port, Target};
use crate::wire::{Line, Opener, Step};

/// How long a connection that is not wanted may be open: less than a handshake of TLS may take, which would end it too.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Clients that listen for changes at a time.
const MAX_LISTENERS: usize = 512;
const DESCRIPTOR: &str = "elwpkh(tpubDCRMaF33e44pcJj534LXVhFbHibPbJ5vuLhSSPFAw57kYURv4tzXFL6LSnd78bkjqdmE3USedkbpXJUPA1tdzKfuYSL7PianceqAhwL2UkA/0)";

fn story(what: impl std::fmt::Display) -> HarnessError {
    HarnessError::Story(what.to_string())
}

/// Open files that a process is given at first, and that a crowd needs.
pub(crate) const AT_FIRST: u64 = 1_024;
pub(crate) const MANY: u64 = 4_096;

/// Lets this process, and those that it starts, have so many files open.
pub(crate) fn allow_files(wanted: u64) -> Result<(), HarnessError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).map_err(story)
}

fn closes(line: &mut Line) -> bool {
    let begun = Instant::now();
    while !line.is_closed() {
        if begun.elapsed() > AT_ONCE {
            return false;
        }
    }
    true
}

/// As many connections of one address as there may be, and one more.
pub(crate) fn gather(opener: &Opener, target: &Target, port: Port, from: Ipv4Addr) -> Result<(), HarnessError> {
    let Some(most) = port.most_of_caller() else { return Ok(()) };
    let address = target.address(port);
    let mut crowd = (0..most).map(|_| opener.plain(from, address)).collect::<Result<Vec<_>, _>>()?;
    let last = crowd.last_mut().ok_or_else(|| story("an empty crowd"))?;
    if last.is_closed() {
        return Err(story(format!("{port:?}: fewer than {most} connections of one address")));
    }
    let mut others = vec![address];
    if port == Port::Electrum {
        others.push(target.address(Port::ElectrumTls));
    }
    for address in others {
        if !closes(&mut opener.plain(from, address)?) {
            return Err(story(format!("{port:?}: more than {most} connections of one address")));
        }
    }
    Ok(())
}

fn subscribe(opener: &Opener, target: &Target, from: Ipv4Addr, answer: &str) -> Result<Line, HarnessError> {
    let mut line = opener.plain(from, target.address(Port::Http))?;
    let question = format!("GET /api/v1/subscribe?descriptor={DESCRIPTOR} HTTP/1.1\r\nHost: a\r\n\r\n");
    if line.write(question.as_bytes(), PATIENCE) == Step::Closed {
        return Err(story("a client that wants to listen is not heard"));
    }
    line.read_until(answer, PATIENCE)?;
    Ok(line)
}

/// As many who listen as there may be, from two addresses, one more, and one when they have gone.
pub(crate) fn listen(opener: &Opener, target: &Target) -> Result<(), HarnessError> {
    let of_one = |from: Ipv4Addr| {
        let lines = (0..MAX_LISTENERS / 2).map(|_| subscribe(opener, target, from, ": ready"));
        lines.collect::<Result<Vec<_>, _>>()
    };
    let (one, another, third) = (attacker(2_000), attacker(2_001), attacker(2_002));
    let listeners = thread::scope(|scope| {
        let both = [one, another].map(|from| scope.spawn(move || of_one(from)));
        both.map(|listening| listening.join().unwrap()).into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let mut extra = opener.plain(one, target.address(Port::Http))?;
    if !closes(&mut extra) {
        return Err(story("more connections of one address than there may be, although all of them listen"));
    }
    subscribe(opener, target, third, "503 Service Unavailable")?;
    drop(listeners);
    let begun = Instant::now();
    while let Err(error) = subscribe(opener, target, third, ": ready") {
        if begun.elapsed() > PATIENCE {
            return Err(story(format!("nobody can listen after all have gone: {error}")));
        }
    }
    Ok(())
}
