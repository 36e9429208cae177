//! Operators on places of elements.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal::read_single;
use crate::graph::{Combine, Fault, Index, Op};

pub(super) const RULES: &[Rule] = &[
    ("Compress", compress),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("NonZero", |call| plain(call, Index::NonZero)),
    ("OneHot", one_hot),
    ("ReverseSequence", reverse_sequence),
    ("Scatter", scatter_elements),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
    ("TensorScatter", tensor_scatter),
    ("Tile", tile),
    ("Trilu", trilu),
];

fn plain(call: &Call<'_>, op: Index) -> Result<Form, Fault> {
    call.plain(Op::Index(op))
}

fn compress(call: &mut Call<'_>) -> Result<Form, Fault> {
    let axis = call.attributes.int("axis")?;
    plain(call, Index::Compress { axis })
}

fn gather_elements(call: &mut Call<'_>) -> Result<Form, Fault> {
    let axis = call.attributes.int_or("axis", 0)?;
    plain(call, Index::GatherElements { axis })
}

fn gather_nd(call: &mut Call<'_>) -> Result<Form, Fault> {
    let batch_dims = match call.opset {
        ..12 => 0,
        _ => call.attributes.int_or("batch_dims", 0)?,
    };
    plain(call, Index::GatherNd { batch_dims })
}

fn one_hot(call: &mut Call<'_>) -> Result<Form, Fault> {
    let axis = call.attributes.int_or("axis", -1)?;
    plain(call, Index::OneHot { axis })
}

fn reverse_sequence(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = Index::ReverseSequence {
        batch_axis: call.attributes.int_or("batch_axis", 1)?,
        time_axis: call.attributes.int_or("time_axis", 0)?,
    };
    plain(call, op)
}

/// Reads the reduction, which came with opset 16, and had no maximum and minimum before 18.
fn combine(call: &Call<'_>) -> Result<Combine, Fault> {
    if call.opset < 16 {
        return Ok(Combine::Replace);
    }
    match call.attributes.text("reduction")?.as_deref() {
        None | Some("none") => Ok(Combine::Replace),
        Some("add") => Ok(Combine::Add),
        Some("mul") => Ok(Combine::Multiply),
        Some("max") => Ok(Combine::Max),
        Some("min") => Ok(Combine::Min),
        Some(seen) => Err(wrong(
            "reduction",
            format!("{seen:?}"),
            "\"none\", \"add\", \"mul\", \"max\" or \"min\"",
        )),
    }
}

fn scatter_elements(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = Index::ScatterElements {
        axis: call.attributes.int_or("axis", 0)?,
        combine: combine(call)?,
    };
    plain(call, op)
}

fn scatter_nd(call: &mut Call<'_>) -> Result<Form, Fault> {
    let combine = combine(call)?;
    plain(call, Index::ScatterNd { combine })
}

fn tensor_scatter(call: &mut Call<'_>) -> Result<Form, Fault> {
    let circular = match call.attributes.text("mode")?.as_deref() {
        None | Some("linear") => false,
        Some("circular") => true,
        Some(seen) => {
            let expected = "\"linear\" or \"circular\"";
            return Err(wrong("mode", format!("{seen:?}"), expected));
        }
    };
    let axis = call.attributes.int_or("axis", -2)?;
    plain(call, Index::TensorScatter { axis, circular })
}

/// Inputs before opset 6: data, one number of repeats, the axis they are along.
fn tile(call: &mut Call<'_>) -> Result<Form, Fault> {
    if call.opset >= 6 {
        return plain(call, Index::Tile);
    }
    call.at_most_inputs(3)?;
    let rank = call.rank(0, "axis")?;
    let [count, axis] = [(1, "tiles"), (2, "axis")].map(|(input, parameter)| {
        let single = call.weight(input).and_then(read_single);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a small integer, else out of range"
        )]
        single.map(|value| value as i64).ok_or(Fault::Parameter {
            parameter,
            seen: "computed by the model".to_owned(),
            expected: "a constant number".to_owned(),
        })
    });
    let mut repeats = vec![1; rank];
    repeats[crate::graph::infer::axis(axis?, rank, "axis")?] = count?;
    let inputs = vec![
        Some(call.input(0)?),
        Some(call.integers("repeats", &repeats)?),
    ];
    Ok(Form::Node(Op::Index(Index::Tile), inputs))
}

fn trilu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let upper = call.attributes.flag("upper", true)?;
    plain(call, Index::Trilu { upper })
}
