//! Writes small archives of `torch.export` for the tests of their reader: a writer of its own, of ZIP as of the schema, so
//! that what no exporter writes can be written.

use serde_json::{Value, json};

use blockflow::graph::{Graph, GraphError};

/// A file of an archive: name, content, and the compression it claims.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    pub(crate) method: u16,
    /// The length that the archive claims, if it is another one.
    pub(crate) claimed: Option<u32>,
}

pub(crate) fn entry(name: &str, content: impl Into<Vec<u8>>) -> Entry {
    Entry {
        name: format!("archive/{name}"),
        content: content.into(),
        method: 0,
        claimed: None,
    }
}

/// Writes entries as a ZIP archive without checksums.
pub(crate) fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let start = bytes.len() as u32;
        let length = entry.claimed.unwrap_or(entry.content.len() as u32);
        let mut common = Vec::new();
        for half in [20_u16, 0x800, entry.method, 0, 0] {
            common.extend(half.to_le_bytes());
        }
        for word in [0_u32, length, length] {
            common.extend(word.to_le_bytes());
        }
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(entry.name.as_bytes());
        bytes.extend(&entry.content);
        directory.extend(b"PK\x01\x02");
        directory.extend(20_u16.to_le_bytes());
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06");
    let count = entries.len() as u16;
    for half in [0, 0, count, count] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [directory.len() as u32, start] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u16.to_le_bytes());
    bytes
}

/// A program under construction: `y = x + w`, of which everything can be changed.
pub(crate) struct Program {
    pub(crate) model: Value,
    pub(crate) weights: Value,
    pub(crate) entries: Vec<Entry>,
}

pub(crate) fn meta(sizes: &[i64]) -> Value {
    let mut strides = vec![1; sizes.len()];
    for axis in (1..sizes.len()).rev() {
        strides[axis - 1] = strides[axis] * sizes[axis].max(1);
    }
    let list = |sizes: &[i64]| {
        sizes
            .iter()
            .map(|size| json!({"as_int": size}))
            .collect::<Vec<_>>()
    };
    json!({
        "dtype": 7, "sizes": list(sizes), "strides": list(&strides), "storage_offset": {"as_int": 0},
        "layout": 7, "requires_grad": false, "device": {"type": "cpu", "index": null},
    })
}

pub(crate) fn tensor(name: &str) -> Value {
    json!({"as_tensor": {"name": name}})
}

pub(crate) fn node(target: &str, inputs: &[(&str, Value)], output: &str) -> Value {
    let inputs = inputs
        .iter()
        .map(|(name, arg)| json!({"name": name, "arg": arg, "kind": 1}));
    json!({
        "target": format!("torch.ops.aten.{target}"), "inputs": inputs.collect::<Vec<_>>(),
        "outputs": [tensor(output)], "metadata": {}, "name": output,
    })
}

impl Program {
    pub(crate) fn new() -> Self {
        Self::of(vec![node(
            "add.Tensor",
            &[("self", tensor("x")), ("other", tensor("w"))],
            "y",
        )])
    }

    /// A program of these nodes, from `x` and the weight `w`, both FP32 of shape [2, 3], to `y`.
    pub(crate) fn of(nodes: Vec<Value>) -> Self {
        let shape = meta(&[2, 3]);
        let model = json!({
            "schema_version": {"major": 8, "minor": 17},
            "opset_version": {"aten": 10},
            "range_constraints": {},
            "graph_module": {
                "graph": {
                    "inputs": [tensor("w"), tensor("x")],
                    "outputs": [tensor("y")],
                    "nodes": nodes,
                    "tensor_values": {"w": shape, "x": shape, "y": shape},
                    "sym_int_values": {}, "sym_bool_values": {},
                },
                "signature": {
                    "input_specs": [
                        {"parameter": {"arg": {"name": "w"}, "parameter_name": "layer.w"}},
                        {"user_input": {"arg": tensor("x")}},
                    ],
                    "output_specs": [{"user_output": {"arg": tensor("y")}}],
                },
                "module_call_graph": [],
            },
        });
        let weights = json!({"config": {"layer.w": {
            "path_name": "weight_0", "is_param": true, "use_pickle": false, "tensor_meta": shape,
        }}});
        let numbers: Vec<u8> = (0..6_i16)
            .flat_map(|number| f32::from(number).to_le_bytes())
            .collect();
        Self {
            model,
            weights,
            entries: vec![
                entry("data/weights/weight_0", numbers),
                entry("byteorder", "little"),
            ],
        }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut entries = self.entries;
        entries.push(entry("models/model.json", self.model.to_string()));
        entries.push(entry(
            "data/weights/model_weights_config.json",
            self.weights.to_string(),
        ));
        zip(&entries)
    }

    pub(crate) fn read(self) -> Result<Graph, GraphError> {
        read_program(&self.bytes())
    }

    pub(crate) fn graph(&mut self) -> &mut Value {
        &mut self.model["graph_module"]["graph"]
    }

    pub(crate) fn signature(&mut self) -> &mut Value {
        &mut self.model["graph_module"]["signature"]
    }
}

/// Reads bytes as a file `program.pt2`.
pub(crate) fn read_program(bytes: &[u8]) -> Result<Graph, GraphError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program.pt2");
    std::fs::write(&path, bytes).unwrap();
    Graph::read(&path)
}
