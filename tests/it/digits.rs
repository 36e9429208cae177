//! The default example through the running server: right answers, equal to those of the unsplit model.

use std::path::{Path, PathBuf};
use std::process::Command;

use blockflow::engine::{BlockSource, Session, prepare};
use blockflow::graph::Graph;
use blockflow::types::{DType, Device, Dim, GraphEngine, Passes, Tensor};

use crate::engine_support::signature;
use crate::support::server::Server;

const PIXELS: usize = 64;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn data(name: &str) -> PathBuf {
    checkout().join("tests/data/digits").join(name)
}

fn images(name: &str) -> Vec<[u8; 4 * PIXELS]> {
    let file = std::fs::read(data(name)).unwrap();
    let pixels: Vec<f32> = npyz::NpyFile::new(&file[..]).unwrap().into_vec().unwrap();
    let image = |pixels: &[f32]| {
        let bytes: Vec<u8> = pixels
            .iter()
            .flat_map(|pixel| pixel.to_le_bytes())
            .collect();
        bytes.try_into().unwrap()
    };
    pixels.chunks(PIXELS).map(image).collect()
}

fn labels(name: &str) -> Vec<usize> {
    let file = std::fs::read(data(name)).unwrap();
    let labels: Vec<i64> = npyz::NpyFile::new(&file[..]).unwrap().into_vec().unwrap();
    labels
        .into_iter()
        .map(|label| usize::try_from(label).unwrap())
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

fn best(logits: &[u8]) -> usize {
    let logits = floats(logits);
    (0..logits.len())
        .max_by(|&left, &right| logits[left].total_cmp(&logits[right]))
        .unwrap()
}

fn reported(task: &str) -> f64 {
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data("report.json")).unwrap()).unwrap();
    report["accuracy"][task].as_f64().unwrap()
}

fn session(source: BlockSource<'_>) -> Box<dyn Session> {
    prepare(source, 1, Device::Cpu).unwrap().session().unwrap()
}

fn run(session: &mut dyn Session, input: Tensor) -> Vec<Tensor> {
    session.run(&[input]).unwrap()
}

fn tensor(image: &[u8]) -> Tensor {
    Tensor::copy_of(DType::F32, vec![1, 1, 8, 8], image).unwrap()
}

/// The whole network, run without a server: per output, the logits of one image.
struct Whole(Box<dyn Session>);

impl Whole {
    fn load() -> Self {
        let graph = Graph::read(&data("digits.onnx")).unwrap();
        let signature = graph.signature().unwrap();
        let names: Vec<_> = signature
            .outputs
            .iter()
            .map(|output| output.name.as_str())
            .collect();
        assert_eq!(names, ["digit_logits", "parity_logits", "legible_logits"]);
        Self(session(BlockSource::Graph {
            graph: &graph,
            signature,
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        }))
    }

    fn answer(&mut self, image: &[u8]) -> Vec<Vec<u8>> {
        let outputs = run(self.0.as_mut(), tensor(image));
        outputs
            .iter()
            .map(|output| output.bytes().to_vec())
            .collect()
    }
}

/// The backbone and the TorchScript head of the example, run without a server.
struct Parity {
    backbone: Box<dyn Session>,
    head: Box<dyn Session>,
}

impl Parity {
    fn load() -> Self {
        let graph = Graph::read(&data("digits.onnx")).unwrap();
        let graph = graph.segment(None, Some(&["features".into()])).unwrap();
        let backbone = session(BlockSource::Graph {
            graph: &graph,
            signature: graph.signature().unwrap(),
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        });
        let (batch, path) = (Dim::symbol("batch"), data("parity_head.pt"));
        let declared = signature(
            &[(DType::F32, &[batch.clone(), Dim::Fixed(64)])],
            &[(DType::F32, &[batch, Dim::Fixed(2)])],
        );
        let head = session(BlockSource::TorchScript {
            path: &path,
            signature: &declared,
        });
        Self { backbone, head }
    }

    fn answer(&mut self, image: &[u8]) -> Vec<u8> {
        let features = run(self.backbone.as_mut(), tensor(image)).remove(0);
        run(self.head.as_mut(), features)[0].bytes().to_vec()
    }
}

#[test]
fn the_held_out_set_is_answered_as_training_reported_and_as_the_unsplit_model_does() {
    let server = Server::start(&checkout().join("blocks.toml"));
    let (mut whole, mut parity) = (Whole::load(), Parity::load());
    let tasks = [
        ("digit", "images.npy", "digit.npy"),
        ("parity", "images.npy", "even.npy"),
        ("legible", "legible_images.npy", "legible.npy"),
    ];
    for (output, (pipeline, images_file, labels_file)) in tasks.into_iter().enumerate() {
        let labels = labels(labels_file);
        let mut right = 0;
        for (image, &label) in images(images_file).iter().zip(&labels) {
            let response = server.infer(pipeline, "image", "FP32", &[1, 1, 8, 8], image);
            assert_eq!(response.status, 200, "{}", response.text());
            let unsplit = &whole.answer(image)[output];
            assert_eq!(best(response.binary()), best(unsplit), "{pipeline}");
            if pipeline == "parity" {
                // The head is TorchScript, which may round otherwise than the same head in ONNX.
                assert_eq!(response.binary(), parity.answer(image));
            } else {
                assert_eq!(response.binary(), unsplit, "{pipeline}: logits differ");
            }
            right += usize::from(best(response.binary()) == label);
        }
        let accuracy = right as f64 / labels.len() as f64;
        assert!(
            (accuracy - reported(pipeline)).abs() < 1e-9,
            "{pipeline}: {accuracy}"
        );
    }
    assert!(reported("digit") >= 0.97);
}

#[test]
fn an_image_file_is_decoded_and_answered_by_two_heads_at_once() {
    let server = Server::start(&checkout().join("blocks.toml"));
    let png = std::fs::read(data("seven.png")).unwrap();
    let element = [&u32::try_from(png.len()).unwrap().to_le_bytes()[..], &png].concat();
    let response = server.infer("digit_image", "file", "BYTES", &[1], &element);
    assert_eq!(response.status, 200, "{}", response.text());
    let (digit, legible) = response.binary().split_at(40);
    assert_eq!((best(digit), best(legible)), (7, 1));
}

#[test]
fn tritonclient_speaks_to_the_server() {
    let server = Server::start(&checkout().join("blocks.toml"));
    let python = checkout().join(".venv-test/bin/python");
    assert!(
        python.exists(),
        "no {}: run scripts/setup --tests",
        python.display()
    );
    let output = Command::new(python)
        .arg(checkout().join("tests/client/triton_client.py"))
        .arg(server.address.to_string())
        .arg(checkout().join("tests/data/digits"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.lines().filter(|line| line.starts_with("ok ")).count() >= 20,
        "{said}"
    );
}
