//! One host: where others reach it, the first of its ports, and the keys that they know it by.

use std::net::IpAddr;

use config::ValueKind;

use crate::types::{HostSpec, PublicKey};

use super::defaults;
use super::reader::Section;
use super::value::{show, typed};

/// Keys of one host. Two are needed while one takes the place of another.
const KEYS_MAX: usize = 4;
const KEY: &str = "expected what `blockflow keys show` prints on that host";

pub(super) fn host(name: &str, section: Section<'_>) -> Option<HostSpec> {
    let mut section = section.with_defaults(defaults::table("host"));
    let expected = "expected an IP address such as \"127.0.0.1\"";
    let address = section
        .parsed("address", expected)
        .map(|address: IpAddr| address.to_canonical());
    let refused = address.and_then(refusal);
    if let (Some(address), Some((reason, expected))) = (address, refused) {
        section.wrong("address", format!("is {address}{reason}"), expected);
    }
    let port = section.number("port", 1..=u64::from(u16::MAX));
    let keys = keys(&mut section);
    section.finish("a host");
    if refused.is_some() {
        return None;
    }
    Some(HostSpec {
        name: name.to_owned(),
        address: address?,
        port: u16::try_from(port?).ok()?,
        keys: keys?,
    })
}

/// Reads a key or a list of keys. None need be there.
fn keys(section: &mut Section<'_>) -> Option<Vec<PublicKey>> {
    if !section.has("key") {
        return Some(Vec::new());
    }
    let path = section.path_of("key");
    let value = section.take("key")?;
    // A key is not to be taken for TOML, wherever it comes from.
    if let ValueKind::String(text) = &value.kind
        && let Ok(key) = text.parse()
    {
        return Some(vec![key]);
    }
    let value = typed(value);
    let ValueKind::Array(list) = value.kind else {
        section.problems().add(&path, show(&value), KEY);
        return None;
    };
    if list.is_empty() || list.len() > KEYS_MAX {
        let expected = format!("expected 1 to {KEYS_MAX} of them");
        let seen = format!("is a list of {} keys", list.len());
        section.problems().add(&path, seen, expected);
        return None;
    }
    let count = list.len();
    let mut keys = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let key = match &value.kind {
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        match key {
            Some(key) => keys.push(key),
            None => {
                let path = format!("{path}[{index}]");
                section.problems().add(&path, show(&value), KEY);
            }
        }
    }
    (keys.len() == count).then_some(keys)
}

type Refusal = (&'static str, &'static str);

/// Says why nobody could reach a host at an address.
fn refusal(address: IpAddr) -> Option<Refusal> {
    if address.is_unspecified() || address.is_multicast() {
        return Some((
            ", which is no host's own",
            "expected the address that other hosts reach it by",
        ));
    }
    None
}
