//! Every reader of bytes that this program does not make itself, as a function of those bytes: what fuzzing runs, and what
//! the tests replay its corpus with.
//!
//! Whatever the bytes, a reader ends in a value or in one error that says something; it never panics. A new reader takes
//! a line in [`READERS`], a file in `targets/`, and a `[[bin]]` in `Cargo.toml`.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use blockflow::engine::{BlockSource, Prepared, prepare};
use blockflow::graph::{
    Container, Graph, Node, NodeId, Op, PixelFormat, Value, ValueId, ValueOrigin, read_tensor,
};
use blockflow::tensormq::{
    Body, Form, Grant, Hello, LinkError, Payload, Refusal, Welcome, decode, decode_payload,
    encode_each, forms,
};
use blockflow::types::{
    Bindings, DType, Device, Dim, Encoding, GraphEngine, Passes, ShapeSpec, Signature, Tensor,
    TensorSpec,
};

/// Reads bytes; an error is what the user is told.
type Reader = fn(&[u8]) -> Result<(), String>;

/// All readers, by the names of their targets and of the folders of their corpora.
pub(crate) const READERS: &[(&str, Reader)] = &[
    ("config", config),
    ("envelope", envelope),
    ("image", image),
    ("infer_body", infer_body),
    ("npy", npy),
    ("onnx_model", onnx_model),
    ("onnx_tensor", onnx_tensor),
    ("payload", payload),
    ("pt2_program", pt2_program),
];

/// Reads bytes with one of the readers.
pub(crate) fn read(reader: &str, file: &[u8]) -> Result<(), String> {
    let known = READERS.iter().find(|(name, _)| *name == reader);
    let (_, reader) = known.expect("a reader of the list");
    let outcome = reader(file);
    if let Err(message) = &outcome {
        assert!(!message.trim().is_empty(), "an error says something");
    }
    outcome
}

/// Puts the bytes into a file of a folder of its own, which also has what a model may be tempted to read.
fn in_folder<T>(name: &str, file: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join(name);
    fs::write(&path, file).expect("room for a small file");
    fs::write(folder.path().join("weights.bin"), [0; 64]).expect("room for a small file");
    let device = folder.path().join("device");
    std::os::unix::fs::symlink("/dev/zero", device).expect("a folder that takes links");
    read(&path)
}

fn onnx_model(file: &[u8]) -> Result<(), String> {
    model("model.onnx", file)
}

fn pt2_program(file: &[u8]) -> Result<(), String> {
    model("model.pt2", file)
}

/// A model: read, checked, weighed, hashed, written back.
fn model(name: &str, file: &[u8]) -> Result<(), String> {
    in_folder(name, file, |path| {
        let graph = Graph::read(path).map_err(|error| error.to_string())?;
        graph.verify().expect("what is read keeps the invariants");
        graph.costs(&Bindings::new());
        graph.hashes(&mut |_| ());
        graph.signature().map_err(|error| error.to_string())?;
        graph.to_onnx().map_err(|error| error.to_string())?;
        Ok(())
    })
}

fn onnx_tensor(file: &[u8]) -> Result<(), String> {
    in_folder("tensor.pb", file, |path| {
        let read = read_tensor(path).map_err(|error| error.to_string());
        read.map(drop)
    })
}

fn npy(file: &[u8]) -> Result<(), String> {
    in_folder("array.npy", file, |path| {
        let read = blockflow::engine::read_npy(path).map_err(|error| error.to_string());
        read.map(drop)
    })
}

/// A configuration, of which every problem is told.
fn config(file: &[u8]) -> Result<(), String> {
    in_folder("blocks.toml", file, |path| {
        let loaded = blockflow::config::load(path, std::iter::empty());
        let loaded = loaded.map_err(|error| error.to_string())?;
        let problems = loaded.problems.iter().map(ToString::to_string);
        match problems.reduce(|all, next| format!("{all}\n{next}")) {
            Some(problems) => Err(problems),
            None => Ok(()),
        }
    })
}

/// The first frame of a message of a link. The first byte says how many tensors of two numbers stand behind it, and from 4
/// on that they came as bytes.
fn envelope(file: &[u8]) -> Result<(), String> {
    let (first, frame) = file.split_first().unwrap_or((&0, &[]));
    let form = if first & 4 == 0 {
        Form::Handle
    } else {
        Form::Bytes
    };
    let again = match frame.get(5) {
        Some(1) => Hello::decode(frame).map(|hello| Some(hello.encode())),
        Some(0x81) => Welcome::decode(frame).map(|welcome| Some(welcome.encode())),
        Some(0x82) => Refusal::decode(frame).map(|_| None),
        Some(0x83) => Grant::decode(frame).map(|grant| Some(grant.encode())),
        _ => read_envelope(usize::from(first % 4), form, frame),
    };
    if let Some(again) = again.map_err(|error| error.to_string())? {
        assert_eq!(again, frame, "a frame has one form");
    }
    Ok(())
}

/// Returns the header as it is written again, unless it has text: what of that is no UTF-8 is replaced.
fn read_envelope(tensors: usize, form: Form, header: &[u8]) -> Result<Option<Vec<u8>>, LinkError> {
    let payload = match form {
        Form::Handle => Payload::Handle(
            Tensor::copy_of(DType::F32, vec![2], &[0; 8]).expect("8 bytes are two numbers"),
        ),
        _ => Payload::Bytes(Arc::new(vec![0; 8])),
    };
    let (envelope, sequence) = decode(header, vec![payload; tensors])?;
    let forms = forms(header).expect("it was read before");
    let again = encode_each(&envelope, sequence, |index| forms[index]);
    let again = again.expect("what was read can be written");
    let text = matches!(envelope.body, Body::Failure(_) | Body::State(_));
    Ok((!text).then_some(again))
}

/// An encoded payload. The first byte tells the encoding, the second the dtype; the next two are the number of elements.
fn payload(file: &[u8]) -> Result<(), String> {
    let Some(([encoding, dtype, low, high], payload)) = file.split_first_chunk() else {
        return Err("no payload".to_owned());
    };
    let encoding = Encoding::ALL[usize::from(*encoding) % Encoding::ALL.len()];
    let dtype = DType::ALL[usize::from(*dtype) % DType::ALL.len()];
    let shape = vec![usize::from(u16::from_le_bytes([*low, *high]))];
    let elements = decode_payload(payload, dtype, &shape, encoding);
    let elements = elements.map_err(|error| error.to_string())?;
    Tensor::new(dtype, shape, Arc::new(elements)).expect("exactly the elements");
    Ok(())
}

/// The body of a request. The first two bytes are the length of its JSON part; 65535: it is JSON altogether.
fn infer_body(file: &[u8]) -> Result<(), String> {
    let (length, body) = file.split_first_chunk().unwrap_or((&[0xff; 2], &[]));
    let length = u16::from_le_bytes(*length);
    let header = (length < u16::MAX).then_some(length.into());
    let batch = Dim::symbol("batch");
    let spec =
        |name: &str, dtype, dims: &[Dim]| TensorSpec::new(name, dtype, ShapeSpec(dims.to_vec()));
    let signature = Signature {
        inputs: vec![
            spec("x", DType::F32, &[batch.clone(), Dim::Fixed(2)]),
            spec("text", DType::Bytes, std::slice::from_ref(&batch)),
        ],
        outputs: vec![spec("y", DType::F32, &[batch])],
    };
    let body = bytes::Bytes::copy_from_slice(body);
    blockflow::serve::read_body(&signature, &body, header).map(drop)
}

/// An image file of any format that the operator ImageDecoder knows.
fn image(file: &[u8]) -> Result<(), String> {
    thread_local! {
        static DECODER: OnceCell<Arc<dyn Prepared>> = const { OnceCell::new() };
    }
    let file =
        Tensor::copy_of(DType::U8, vec![file.len()], file).map_err(|error| error.to_string())?;
    DECODER.with(|decoder| {
        let prepared = decoder.get_or_init(|| decoder_block());
        let mut session = prepared.session().map_err(|error| error.to_string())?;
        let outputs = session.run(&[file]).map_err(|error| error.to_string())?;
        if outputs[0].bytes().is_empty() {
            return Err("it is no image".to_owned());
        }
        Ok(())
    })
}

fn decoder_block() -> Arc<dyn Prepared> {
    let value = |name: &str, rank, origin| Value {
        name: name.to_owned(),
        dtype: Some(DType::U8),
        shape: Some(ShapeSpec(
            (0..rank)
                .map(|dim| Dim::symbol(&format!("{name}{dim}")))
                .collect(),
        )),
        container: Container::Tensor,
        origin,
    };
    let graph = Graph {
        name: "decoder".to_owned(),
        path: "decoder".into(),
        data_files: Default::default(),
        nodes: vec![Node {
            name: "decode".to_owned(),
            op: Op::ImageDecoder(PixelFormat::Rgb),
            inputs: vec![Some(ValueId(0))],
            outputs: vec![Some(ValueId(1))],
        }],
        values: vec![
            value("file", 1, ValueOrigin::Input(0)),
            value("pixels", 3, ValueOrigin::Node(NodeId(0), 0)),
        ],
        inputs: vec![ValueId(0)],
        outputs: vec![ValueId(1)],
    };
    let source = BlockSource::Graph {
        graph: &graph,
        signature: graph.signature().expect("a graph with typed ends"),
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    prepare(source, 1, Device::Cpu).expect("a decoder of images")
}
