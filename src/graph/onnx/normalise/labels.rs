//! Encoders of labels and preparations of features, of the domain of classical machine learning.

use std::sync::Arc;

use super::super::attributes::wrong;
use super::super::tensor;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Binary, Fault, Initializer, Op, Reduce, Unary, ValueId};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("ai.onnx.ml.ArrayFeatureExtractor", array_feature_extractor),
    ("ai.onnx.ml.Binarizer", binarizer),
    ("ai.onnx.ml.FeatureVectorizer", feature_vectorizer),
    ("ai.onnx.ml.Imputer", imputer),
    ("ai.onnx.ml.LabelEncoder", label_encoder),
    ("ai.onnx.ml.Normalizer", normalizer),
    ("ai.onnx.ml.OneHotEncoder", one_hot_encoder),
    ("ai.onnx.ml.Scaler", scaler),
];

type Literal = Option<Arc<Initializer>>;

/// The mapping, which is attributes, turns into inputs.
fn label_encoder(call: &mut Call<'_>) -> Result<Form, Fault> {
    if let Some(classes) = call.attributes.byte_strings("classes_strings")? {
        let names = literal::strings(vec![classes.len()], classes);
        let numbers: Vec<i64> = (0..).take(classes.len()).collect();
        let numbers = literal::integers(&numbers);
        let [integer, text] = scalars(call)?;
        return if call.dtype(0, "classes_strings")? == DType::Bytes {
            encoder(call, names, numbers, integer)
        } else {
            encoder(call, numbers, names, text)
        };
    }
    let keys = list(call, "keys")?;
    let values = list(call, "values")?;
    let dtype = values.as_ref().map(|values| values.tensor.dtype());
    let [integer, text] = scalars(call)?;
    let float = call.attributes.float_or("default_float", -0.0)?;
    let default = match (read_tensor(call, "default_tensor")?, dtype) {
        (Some(default), _) => Some(default),
        (None, Some(DType::Bytes)) => text,
        (None, Some(DType::I64)) => integer,
        (None, Some(dtype)) => literal::float(dtype, float),
        (None, None) => None,
    };
    encoder(call, keys, values, default)
}

/// Returns the defaults for integers and for texts.
fn scalars(call: &Call<'_>) -> Result<[Literal; 2], Fault> {
    let integer = call.attributes.int_or("default_int64", -1)?;
    let text = call.attributes.text("default_string")?;
    let text = text.unwrap_or_else(|| "_Unused".to_owned());
    Ok([
        literal::of_integers(DType::I64, Vec::new(), &[integer]),
        literal::strings(Vec::new(), &[text]),
    ])
}

fn encoder(
    call: &mut Call<'_>,
    keys: Literal,
    values: Literal,
    default: Literal,
) -> Result<Form, Fault> {
    call.at_most_inputs(1)?;
    let mut inputs = vec![Some(call.input(0)?)];
    let parts = [
        ("keys_tensor", keys),
        ("values_tensor", values),
        ("default_tensor", default),
    ];
    for (role, part) in parts {
        let part = part.ok_or(Fault::NoAttribute {
            attribute: role.to_owned(),
            expected: "a tensor or a list",
        })?;
        inputs.push(Some(call.literal(role, Some(part))?));
    }
    Ok(Form::Node(Op::LabelEncoder, inputs))
}

/// Reads a list that is spelled as texts, integers, numbers or a tensor.
fn list(call: &mut Call<'_>, name: &str) -> Result<Literal, Fault> {
    let attributes = &call.attributes;
    if let Some(list) = attributes.byte_strings(&format!("{name}_strings"))? {
        return Ok(literal::strings(vec![list.len()], list));
    }
    if let Some(list) = attributes.ints(&format!("{name}_int64s"))? {
        return Ok(literal::integers(list));
    }
    if let Some(list) = attributes.floats(&format!("{name}_floats"))? {
        return Ok(literal::floats(vec![list.len()], list));
    }
    read_tensor(call, &format!("{name}_tensor"))
}

pub(super) fn read_tensor(call: &mut Call<'_>, name: &str) -> Result<Literal, Fault> {
    let Some(proto) = call.attributes.tensor(name)? else {
        return Ok(None);
    };
    let in_attribute = |defect| Fault::Tensor {
        attribute: name.to_owned(),
        defect: Box::new(defect),
    };
    let tensor = tensor::read(proto, call.node, call.files).map_err(in_attribute)?;
    Ok(Some(tensor))
}

/// Casts integers, so that numbers that are no integers can be laid against them.
pub(super) fn as_float(call: &mut Call<'_>) -> Result<(ValueId, DType), Fault> {
    let data = call.input(0)?;
    let to = match call.dtype(0, "a number")? {
        DType::I64 | DType::I32 => DType::F64,
        dtype if dtype.is_float() => return Ok((data, dtype)),
        _ => DType::F32,
    };
    Ok((call.step("float", Op::Cast { to }, vec![Some(data)])?, to))
}

/// 1 where an element is above the threshold, else 0.
fn binarizer(call: &mut Call<'_>) -> Result<Form, Fault> {
    let threshold = call.attributes.float_or("threshold", 0.0)?;
    call.at_most_inputs(1)?;
    let to = call.dtype(0, "threshold")?;
    let (data, dtype) = as_float(call)?;
    let threshold = call.literal("threshold", literal::float(dtype, threshold))?;
    let above = Op::Binary(Binary::Greater);
    let above = call.step("above", above, vec![Some(data), Some(threshold)])?;
    Ok(Form::Node(Op::Cast { to }, vec![Some(above)]))
}

/// Picks columns; those of a single row make a matrix too.
fn array_feature_extractor(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(2)?;
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let row = call.rank(0, "indices")? == 1;
    let flat = call.integers("flat", &[-1])?;
    let reshape = Op::Reshape { allow_zero: false };
    let indices = call.step("indices", reshape.clone(), vec![Some(indices), Some(flat)])?;
    let gather = Op::Gather { axis: -1 };
    let picked = vec![Some(data), Some(indices)];
    if !row {
        return Ok(Form::Node(gather, picked));
    }
    let picked = call.step("picked", gather, picked)?;
    let matrix = call.integers("matrix", &[1, -1])?;
    Ok(Form::Node(reshape, vec![Some(picked), Some(matrix)]))
}

/// `(x − offset) · scale`, of one number or one for each feature.
fn scaler(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(1)?;
    let mut parameter = |name: &str, default: f32| {
        let default = [default];
        let list = call.attributes.floats(name)?.unwrap_or(&default);
        call.literal(name, literal::floats(vec![list.len()], list))
    };
    let (offset, scale) = (parameter("offset", 0.0)?, parameter("scale", 1.0)?);
    let data = Some(call.input(0)?);
    let data = call.step("float", Op::Cast { to: DType::F32 }, vec![data])?;
    let centre = Op::Binary(Binary::Sub);
    let centred = call.step("centred", centre, vec![Some(data), Some(offset)])?;
    let scaled = vec![Some(centred), Some(scale)];
    Ok(Form::Node(Op::Binary(Binary::Mul), scaled))
}

/// Divides each row by its norm, where that is not 0.
fn normalizer(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(1)?;
    let kind = match call.attributes.text("norm")?.as_deref() {
        None | Some("MAX") => Reduce::Max,
        Some("L1") => Reduce::L1,
        Some("L2") => Reduce::L2,
        Some(seen) => {
            let expected = "\"MAX\", \"L1\" or \"L2\"";
            return Err(wrong("norm", format!("{seen:?}"), expected));
        }
    };
    let data = Some(call.input(0)?);
    let data = call.step("float", Op::Cast { to: DType::F32 }, vec![data])?;
    let axes = call.integers("axes", &[-1])?;
    let reduce = Op::Reduce {
        kind,
        keep_dims: true,
        noop_with_empty_axes: false,
    };
    let magnitude = Op::Unary(Unary::Abs);
    let magnitude = call.step("magnitude", magnitude, vec![Some(data)])?;
    let norm = call.step("norm", reduce, vec![Some(magnitude), Some(axes)])?;
    let least = call.literal("least", literal::float(DType::F32, 1e-30))?;
    let norm = call.step("divisor", Op::Clip, vec![Some(norm), Some(least)])?;
    let divide = Op::Binary(Binary::Div);
    Ok(Form::Node(divide, vec![Some(data), Some(norm)]))
}

/// 1 at the place of the category that an element is, and 0 elsewhere.
fn one_hot_encoder(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(1)?;
    // Whether an element may be of no category.
    call.attributes.only("zeros", 1, 1)?;
    let mut data = call.input(0)?;
    let names = call.attributes.byte_strings("cats_strings")?;
    let numbers = call.attributes.ints("cats_int64s")?;
    let (count, keys) = match (names, numbers) {
        (Some(names), _) if !names.is_empty() => {
            (names.len(), literal::strings(vec![names.len()], names))
        }
        (_, Some(numbers)) if !numbers.is_empty() => {
            data = call.step("integers", Op::Cast { to: DType::I64 }, vec![Some(data)])?;
            (numbers.len(), literal::integers(numbers))
        }
        _ => {
            return Err(Fault::NoAttribute {
                attribute: "cats_int64s".to_owned(),
                expected: "the categories, or cats_strings",
            });
        }
    };
    let places: Vec<i64> = (0..).take(count).collect();
    let places = call.integers("places", &places)?;
    let none = literal::of_integers(DType::I64, Vec::new(), &[-1]);
    let (keys, none) = (
        call.literal("categories", keys)?,
        call.literal("none", none)?,
    );
    let encoded = [data, keys, places, none].map(Some).to_vec();
    let encoded = call.step("place", Op::LabelEncoder, encoded)?;
    let axes = call.integers("axes", &[-1])?;
    let column = call.step("column", Op::Unsqueeze, vec![Some(encoded), Some(axes)])?;
    let equal = Op::Binary(Binary::Equal);
    let equal = call.step("equal", equal, vec![Some(column), Some(places)])?;
    Ok(Form::Node(Op::Cast { to: DType::F32 }, vec![Some(equal)]))
}

/// Puts a value in the place of each element that is missing.
fn imputer(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(1)?;
    let data = call.input(0)?;
    let dtype = call.dtype(0, "imputed_value_floats")?;
    let replaced = call.attributes.float_or("replaced_value_float", 0.0)?;
    let replaced_integer = call.attributes.int_or("replaced_value_int64", 0)?;
    let floats = call.attributes.floats("imputed_value_floats")?;
    let integers = call.attributes.ints("imputed_value_int64s")?;
    let (values, replaced_literal) = match (dtype, floats, integers) {
        (DType::I64, _, Some(values)) => (
            literal::integers(values),
            literal::of_integers(DType::I64, Vec::new(), &[replaced_integer]),
        ),
        (DType::F32, Some(values), _) => (
            literal::floats(vec![values.len()], values),
            literal::float(DType::F32, replaced),
        ),
        (seen, ..) => {
            return Err(Fault::DType {
                input: 0,
                seen,
                expected: "FP32 or INT64, with values of that datatype".to_owned(),
            });
        }
    };
    let equal = Op::Binary(Binary::Equal);
    let missing = if replaced.is_nan() && dtype == DType::F32 {
        let same = call.step("same", equal, vec![Some(data), Some(data)])?;
        call.step("missing", Op::Unary(Unary::Not), vec![Some(same)])?
    } else {
        let replaced = call.literal("replaced", replaced_literal)?;
        call.step("missing", equal, vec![Some(data), Some(replaced)])?
    };
    let values = call.literal("values", values)?;
    Ok(Form::Node(
        Op::Where,
        [missing, values, data].map(Some).to_vec(),
    ))
}

/// Joins features to rows.
fn feature_vectorizer(call: &mut Call<'_>) -> Result<Form, Fault> {
    let widths = call.attributes.sizes("inputdimensions")?;
    let mut parts = Vec::new();
    for input in 0..call.inputs.len() {
        let mut part = call.input(input)?;
        part = call.step("float", Op::Cast { to: DType::F32 }, vec![Some(part)])?;
        if call.known_rank(input)? == Some(1) {
            let axes = call.integers("axes", &[1])?;
            part = call.step("column", Op::Unsqueeze, vec![Some(part), Some(axes)])?;
        }
        let columns = call
            .builder
            .fact(part)
            .dims()
            .and_then(|dims| dims.get(1)?.fixed());
        if let (Some(columns), Some(&width)) = (columns, widths.get(input))
            && columns != width
        {
            let expected = format!("{columns}, as many as input {input} has");
            return Err(wrong("inputdimensions", width, &expected));
        }
        parts.push(Some(part));
    }
    Ok(Form::Node(Op::Concat { axis: 1 }, parts))
}
