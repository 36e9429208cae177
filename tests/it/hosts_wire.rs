//! Two hosts between which edges are narrowed and compressed: answers are right, and fewer bytes go over the wire.

use crate::hosts::{Hosts, until_ready};
use crate::support::server::Server;
use crate::support::until;

const ELEMENTS: usize = 4096;
const REQUESTS: u64 = 10;

/// As [`crate::hosts::config`], of FP32, with `wire` for the pipeline that visits the other host.
fn config(front: &str, back: &str, wire: &str) -> String {
    let block = |name: &str, [input, output]: [&str; 2], host: &str| {
        let tensor = |name: &str| {
            format!("[{{ name = \"{name}\", datatype = \"FP32\", shape = [1, {ELEMENTS}] }}]")
        };
        format!(
            "[blocks.{name}]\nhost = \"{host}\"\nmock = {{ inputs = {}, outputs = {} }}\n",
            tensor(input),
            tensor(output)
        )
    };
    format!(
        "[hosts.front]\naddress = \"{front}\"\n[hosts.back]\naddress = \"{back}\"\n{}{}{}\
         [pipelines.away]\nflow = [\"near\", \"far\", \"tail\"]\ndeadline_ms = 20000\n{wire}",
        block("near", ["x", "a"], "front"),
        block("far", ["a", "b"], "back"),
        block("tail", ["b", "y"], "front"),
    )
}

/// Returns a count of a block.
fn count(page: &str, name: &str, block: &str) -> u64 {
    let start = format!("blockflow_block_{name}_total{{block=\"{block}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start} in {page}"))
        .parse()
        .unwrap()
}

/// Asks with zeros, to each byte of which every block adds one; every element of the answer has to be `expected`.
fn ask(front: &Server, expected: [u8; 4]) {
    let zeros = vec![0; ELEMENTS * 4];
    let response = front.infer("away", "x", "FP32", &[1, ELEMENTS], &zeros);
    assert_eq!(response.status, 200, "{}", response.text());
    let answer = response.binary();
    assert_eq!(answer.len(), zeros.len());
    let wrong = answer.chunks_exact(4).find(|element| **element != expected);
    assert_eq!(wrong, None, "expected {expected:?}");
}

/// Serves a pipeline and returns what `near` has sent to the other host: the payloads, and what they took.
fn sent(wire: &str, expected: [u8; 4]) -> [u64; 2] {
    let hosts = Hosts::of(|front, back| config(front, back, wire));
    let (front, _back) = (hosts.front(), hosts.back());
    until_ready(&front);
    for _ in 0..REQUESTS {
        ask(&front, expected);
    }
    let whole = REQUESTS * ELEMENTS as u64 * 4;
    // Counted after the answer is on its way.
    until("all is counted", || {
        count(&front.get("/metrics").text(), "bytes_sent", "near") >= whole
    });
    let page = front.get("/metrics").text();
    if !wire.is_empty() {
        let edge =
            "from=\"near.a\",to=\"far.a\",carrier=\"tcp\",travels=\"bytes\",encoding=\"BF16 lz4\"";
        assert!(page.contains(edge), "{page}");
    }
    ["bytes_sent", "bytes_framed"].map(|name| count(&page, name, "near"))
}

#[test]
fn answers_are_right_and_fewer_bytes_are_sent() {
    let whole = REQUESTS * ELEMENTS as u64 * 4;
    assert_eq!(sent("", [3; 4]), [whole, whole]);
    // What `near` makes of zeros, 0x01010101, is nearest to 0x01010000 in BF16.
    let wire = "[pipelines.away.wire]\n\
        \"x -> near.x\" = { dtype = \"FP16\" }\n\
        \"near.a -> far.a\" = { dtype = \"BF16\", compress = \"lz4\" }\n\
        \"far.b -> tail.b\" = { compress = \"zstd\" }\n";
    let [payloads, framed] = sent(wire, [2, 2, 3, 3]);
    assert_eq!(payloads, whole);
    assert!(framed < whole / 50, "{framed} of {whole}");
}

#[test]
fn hosts_that_encode_otherwise_do_not_let_each_other_in() {
    let wire = |dtype: &str| {
        format!("[pipelines.away.wire]\n\"near.a -> far.a\" = {{ dtype = \"{dtype}\" }}\n")
    };
    let hosts = Hosts::of(|front, back| config(front, back, &wire("BF16")));
    let other = hosts.text().replace("BF16", "FP16");
    std::fs::write(hosts.path("back.toml"), other).unwrap();
    let (front, _back) = (hosts.front(), hosts.back());
    until("the other host is refused", || {
        let ready = front.get("/v2/models/away/ready");
        let told = ready.text();
        let refused = told.contains("run the same configuration and release");
        ready.status != 200 && refused && told.contains("host \\\"back\\\"")
    });
}

/// A trained network, cut between the hosts.
fn digits(front: &str, back: &str, wire: &str) -> String {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digits/digits.onnx");
    format!(
        "[hosts.front]\naddress = \"{front}\"\n[hosts.back]\naddress = \"{back}\"\n\
         [blocks.backbone]\nmodel = \"{model}\"\noutputs = [\"features\"]\n\
         [blocks.head]\nmodel = \"{model}\"\ninputs = [\"features\"]\noutputs = [\"digit_logits\"]\nhost = \"back\"\n\
         [pipelines.away]\nflow = [\"backbone\", \"head\"]\ndeadline_ms = 20000\n{wire}"
    )
}

/// Returns the logits of a picture.
fn logits(wire: &str) -> Vec<f32> {
    let hosts = Hosts::of(|front, back| digits(front, back, wire));
    let (front, _back) = (hosts.front(), hosts.back());
    until_ready(&front);
    let pixel = |index: usize| ((index * 7 % 17) as f32).to_le_bytes();
    let picture: Vec<u8> = (0..64).flat_map(pixel).collect();
    let response = front.infer("away", "image", "FP32", &[1, 1, 8, 8], &picture);
    assert_eq!(response.status, 200, "{}", response.text());
    let logits = response.binary().as_chunks().0.iter();
    logits.map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn a_narrowed_network_answers_nearly_the_same_and_a_compressed_one_exactly() {
    let edge = "[pipelines.away.wire]\n\"backbone.features -> head.features\" = ";
    let whole = logits("");
    let compressed = logits(&format!("{edge}{{ compress = \"zstd\" }}\n"));
    assert_eq!(compressed, whole);
    let largest = whole
        .iter()
        .fold(0.0_f32, |most, logit| most.max(logit.abs()));
    for (dtype, part) in [("FP16", 1.0 / 256.0), ("BF16", 1.0 / 32.0)] {
        let narrowed = logits(&format!("{edge}{{ dtype = \"{dtype}\" }}\n"));
        assert_eq!(narrowed.len(), whole.len());
        assert_ne!(narrowed, whole, "{dtype}");
        for (narrowed, whole) in narrowed.iter().zip(&whole) {
            assert!(
                (narrowed - whole).abs() < largest * part,
                "{dtype}: {narrowed} for {whole}"
            );
        }
    }
}
