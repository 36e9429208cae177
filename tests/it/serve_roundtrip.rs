//! Hazard: a tensor changes on its way through the front end, or some bytes bring it down.

use std::sync::{Mutex, OnceLock};

use blockflow::types::DType;
use half::f16;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::serve_support::{Client, Response, Server, infer_binary, post_with};

/// One server and one kept connection for all cases.
struct Shared {
    server: Server,
    client: Client,
}

/// Sends one request over the kept connection, opening a new one where the server closed it.
fn exchange(bytes: &[u8]) -> Response {
    static SHARED: OnceLock<Mutex<Shared>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let server = Server::start();
        let client = server.connect();
        Mutex::new(Shared { server, client })
    });
    let mut shared = shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let response = shared.client.exchange(bytes);
    if response.header("connection") == Some("close") {
        shared.client = shared.server.connect();
    }
    response
}

#[derive(Debug, Clone)]
struct Given {
    dtype: DType,
    shape: [usize; 2],
    bytes: Vec<u8>,
    /// What a JSON client writes for each element; `None` where JSON has no word for it.
    json: Option<Vec<String>>,
}

fn written(dtype: DType, bytes: &[u8]) -> Option<Vec<String>> {
    fn each<const SIZE: usize>(
        bytes: &[u8],
        write: impl Fn([u8; SIZE]) -> Option<String>,
    ) -> Option<Vec<String>> {
        bytes
            .as_chunks::<SIZE>()
            .0
            .iter()
            .map(|&element| write(element))
            .collect()
    }
    match dtype {
        DType::Bool => each(bytes, |[byte]| Some((byte == 1).to_string())),
        DType::U8 => each(bytes, |[byte]| Some(byte.to_string())),
        DType::U16 => each(bytes, |element| {
            Some(u16::from_le_bytes(element).to_string())
        }),
        DType::U32 => each(bytes, |element| {
            Some(u32::from_le_bytes(element).to_string())
        }),
        DType::U64 => each(bytes, |element| {
            Some(u64::from_le_bytes(element).to_string())
        }),
        DType::I8 => each(bytes, |element| {
            Some(i8::from_le_bytes(element).to_string())
        }),
        DType::I16 => each(bytes, |element| {
            Some(i16::from_le_bytes(element).to_string())
        }),
        DType::I32 => each(bytes, |element| {
            Some(i32::from_le_bytes(element).to_string())
        }),
        DType::I64 => each(bytes, |element| {
            Some(i64::from_le_bytes(element).to_string())
        }),
        DType::F16 => each(bytes, |element| {
            let value = f16::from_le_bytes(element);
            value.is_finite().then(|| value.to_f32().to_string())
        }),
        DType::F32 => each(bytes, |element| {
            let value = f32::from_le_bytes(element);
            value.is_finite().then(|| format!("{value:e}"))
        }),
        DType::F64 => each(bytes, |element| {
            let value = f64::from_le_bytes(element);
            value.is_finite().then(|| format!("{value:e}"))
        }),
        _ => None,
    }
}

fn given() -> impl Strategy<Value = Given> {
    (
        proptest::sample::select(DType::ALL.to_vec()),
        0..5_usize,
        0..40_usize,
    )
        .prop_flat_map(|(dtype, rows, columns)| {
            let elements = rows * columns;
            let shape = [rows, columns];
            if dtype == DType::Bytes {
                vec(any::<String>(), elements)
                    .prop_map(move |strings| {
                        let bytes = strings.iter().flat_map(|string| {
                            let length = u32::try_from(string.len()).unwrap();
                            [&length.to_le_bytes()[..], string.as_bytes()].concat()
                        });
                        let json = strings
                            .iter()
                            .map(|string| serde_json::to_string(string).unwrap());
                        Given {
                            dtype,
                            shape,
                            bytes: bytes.collect(),
                            json: Some(json.collect()),
                        }
                    })
                    .boxed()
            } else {
                let byte = if dtype == DType::Bool {
                    (0..2_u8).boxed()
                } else {
                    any::<u8>().boxed()
                };
                vec(byte, elements * dtype.size().unwrap())
                    .prop_map(move |bytes| {
                        let json = written(dtype, &bytes);
                        Given {
                            dtype,
                            shape,
                            bytes,
                            json,
                        }
                    })
                    .boxed()
            }
        })
}

/// A request for the given tensor: its JSON and what follows it.
fn encode(given: &Given, json_in: bool, json_out: bool) -> (String, Vec<u8>) {
    let Given {
        dtype,
        shape: [rows, columns],
        bytes,
        json,
    } = given;
    let (data, binary) = match json {
        Some(elements) if json_in => (format!(r#""data":[{}]"#, elements.join(",")), vec![]),
        _ => (
            format!(r#""parameters":{{"binary_data_size":{}}}"#, bytes.len()),
            bytes.clone(),
        ),
    };
    let json = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"{dtype}","shape":[{rows},{columns}],{data}}}],"parameters":{{"binary_data_output":{}}}}}"#,
        !json_out
    );
    (json, binary)
}

/// Reads the elements of a JSON response back into bytes.
fn decode(dtype: DType, response: &Response) -> Vec<u8> {
    #[derive(serde::Deserialize)]
    struct Body {
        outputs: Vec<Output>,
    }
    #[derive(serde::Deserialize)]
    struct Output {
        data: Vec<Box<serde_json::value::RawValue>>,
    }
    let body: Body = serde_json::from_slice(&response.body).unwrap();
    let element = |raw: &serde_json::value::RawValue| -> Vec<u8> {
        let text = raw.get();
        match dtype {
            DType::Bool => vec![u8::from(text.parse::<bool>().unwrap())],
            DType::U8 => vec![text.parse().unwrap()],
            DType::U16 => text.parse::<u16>().unwrap().to_le_bytes().into(),
            DType::U32 => text.parse::<u32>().unwrap().to_le_bytes().into(),
            DType::U64 => text.parse::<u64>().unwrap().to_le_bytes().into(),
            DType::I8 => text.parse::<i8>().unwrap().to_le_bytes().into(),
            DType::I16 => text.parse::<i16>().unwrap().to_le_bytes().into(),
            DType::I32 => text.parse::<i32>().unwrap().to_le_bytes().into(),
            DType::I64 => text.parse::<i64>().unwrap().to_le_bytes().into(),
            DType::F16 => f16::from_f32(text.parse().unwrap()).to_le_bytes().into(),
            DType::F32 => text.parse::<f32>().unwrap().to_le_bytes().into(),
            DType::F64 => text.parse::<f64>().unwrap().to_le_bytes().into(),
            DType::Bytes => {
                let string: String = serde_json::from_str(text).unwrap();
                [
                    &u32::try_from(string.len()).unwrap().to_le_bytes()[..],
                    string.as_bytes(),
                ]
                .concat()
            }
            _ => unreachable!("no JSON form"),
        }
    };
    body.outputs[0]
        .data
        .iter()
        .flat_map(|raw| element(raw))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tensor_survives_any_mix_of_json_and_binary(given in given(), json_in: bool, json_out: bool) {
        let json_out = json_out && given.json.is_some();
        let (json, binary) = encode(&given, json_in, json_out);
        let response = exchange(&infer_binary(&format!("echo_{}", given.dtype), &json, &binary));
        prop_assert_eq!(response.status, 200, "{}", response.text());
        let back = if json_out { decode(given.dtype, &response) } else { response.binary().1.to_vec() };
        prop_assert_eq!(back, given.bytes);
    }

    #[test]
    fn any_bytes_are_answered(body in vec(any::<u8>(), 0..300), header in proptest::option::of(0..400_usize)) {
        let header = header.map(|header| header.to_string());
        let headers: Vec<_> = header.iter().map(|header| ("Inference-Header-Content-Length", header.as_str())).collect();
        let response = exchange(&post_with("/v2/models/echo_FP32/infer", &headers, &body));
        prop_assert_eq!(response.status, 400);
        prop_assert!(!response.error().is_empty());
    }

    #[test]
    fn a_good_request_with_a_few_wrong_bytes_is_answered(
        given in given(),
        json_in: bool,
        wounds in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        shift in -2..3_isize,
    ) {
        let (json, binary) = encode(&given, json_in, false);
        let mut body = [json.as_bytes(), &binary].concat();
        for (place, byte) in wounds {
            let place = place.index(body.len());
            body[place] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let length = json.len().saturating_add_signed(shift).to_string();
        let headers = [("Inference-Header-Content-Length", length.as_str())];
        let response = exchange(&post_with(&format!("/v2/models/echo_{}/infer", given.dtype), &headers, &body));
        prop_assert!(matches!(response.status, 200 | 400 | 413 | 422), "{}: {}", response.status, response.text());
    }
}
