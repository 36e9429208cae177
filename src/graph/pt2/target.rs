//! What a node calls: an operator of ATen, a function of Python on sizes, or a check that computes nothing.

use super::schema::{Argument, Node, SymIntArgument};
use crate::graph::build::{Builder, literal};
use crate::graph::{Binary, Defect, Fault, Op, ValueId};

pub(super) enum Target<'a> {
    /// Name and overload.
    Aten(&'a str, &'a str),
    /// A function of two sizes.
    Size(Binary),
    /// Checks of the exporter's assumptions, and the truth values that only they read.
    Nothing,
}

/// Operators of ATen that only check.
const CHECKS: [&str; 5] = [
    "_assert_async",
    "_assert_scalar",
    "_assert_tensor_metadata",
    "sym_constrain_range",
    "sym_constrain_range_for_size",
];

impl<'a> Target<'a> {
    /// Reads the qualified name of a target, as `torch.ops.aten.add.Tensor`; `None` if it is not supported.
    pub(super) fn of(target: &'a str) -> Option<Self> {
        if let Some(operator) = target.strip_prefix("torch.ops.aten.") {
            let (name, overload) = operator.split_once('.')?;
            return Some(if CHECKS.contains(&name) {
                Self::Nothing
            } else {
                Self::Aten(name, overload)
            });
        }
        if target == "torch.sym_not" {
            return Some(Self::Nothing);
        }
        let function = target
            .strip_prefix("_operator.")
            .or_else(|| target.strip_prefix("operator."))?;
        Some(match function {
            "add" => Self::Size(Binary::Add),
            "sub" => Self::Size(Binary::Sub),
            "mul" => Self::Size(Binary::Mul),
            // Sizes are not negative, so that rounding down and towards zero are one.
            "floordiv" => Self::Size(Binary::Div),
            "mod" => Self::Size(Binary::Mod { truncated: false }),
            "eq" | "ne" | "lt" | "le" | "gt" | "ge" => Self::Nothing,
            _ => return None,
        })
    }
}

/// Adds a node that computes one size from two; sizes are lists of one INT64.
pub(super) fn compute_size(
    function: Binary,
    name: &str,
    node: &Node,
    builder: &mut Builder,
) -> Result<(), Fault> {
    let [left, right] = node.inputs.as_slice() else {
        return Err(Fault::InputCount {
            seen: node.inputs.len(),
            expected: "2".to_owned(),
        });
    };
    let [Argument::SymInt(SymIntArgument::Name(output))] = node.outputs.as_slice() else {
        return Err(Fault::Argument {
            argument: "result".to_owned(),
            seen: "no size".to_owned(),
            expected: "a size",
        });
    };
    let inputs = [left, right].map(|input| size(name, &input.arg, builder).map(Some));
    let inputs = inputs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let in_size = |defect: Defect| match defect {
        Defect::Node { fault, .. } => fault,
        other => Fault::Tensor {
            attribute: "result".to_owned(),
            defect: Box::new(other),
        },
    };
    builder
        .add_node(
            name,
            "",
            Op::Binary(function),
            inputs,
            &[Some(output.clone())],
        )
        .map_err(in_size)
}

fn size(node: &str, argument: &Argument, builder: &mut Builder) -> Result<ValueId, Fault> {
    let number = match argument {
        Argument::SymInt(SymIntArgument::Name(name)) => {
            return builder
                .resolve(name)
                .flatten()
                .ok_or_else(|| Fault::UndefinedTensor {
                    tensor: name.clone(),
                });
        }
        Argument::SymInt(SymIntArgument::Int(number)) | Argument::Int(number) => *number,
        _ => {
            return Err(Fault::Argument {
                argument: "a".to_owned(),
                seen: "no size".to_owned(),
                expected: "sizes",
            });
        }
    };
    let literal = literal::integers(&[number]).ok_or(Fault::NoArgument {
        argument: "a".to_owned(),
    })?;
    let in_literal = |defect: Defect| Fault::Tensor {
        attribute: "size".to_owned(),
        defect: Box::new(defect),
    };
    builder
        .add_literal(node, "size", literal)
        .map_err(in_literal)
}
