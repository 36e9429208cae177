//! One host: where others reach it, and the first of its ports.

use std::net::IpAddr;

use crate::types::HostSpec;

use super::defaults;
use super::reader::Section;

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
    section.finish("a host");
    if refused.is_some() {
        return None;
    }
    Some(HostSpec {
        name: name.to_owned(),
        address: address?,
        port: u16::try_from(port?).ok()?,
    })
}

type Refusal = (&'static str, &'static str);

/// Says why nobody could, or nobody may, reach a host at an address.
fn refusal(address: IpAddr) -> Option<Refusal> {
    if address.is_unspecified() || address.is_multicast() {
        return Some((
            ", which is no host's own",
            "expected the address that other hosts reach it by",
        ));
    }
    beyond_this_machine(address)
}

/// What leaves the machine has to be encrypted, and both sides have to know each other.
fn beyond_this_machine(address: IpAddr) -> Option<Refusal> {
    (!address.is_loopback()).then_some((
        ", and links beyond this machine need CURVE keys, which this version does not have",
        "expected a loopback address such as 127.0.0.1",
    ))
}
