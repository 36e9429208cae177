//! Versions of the default operator set.

use super::proto::OperatorSetIdProto;
use super::scope::is_default;
use crate::graph::Defect;

/// Those that can be read.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=27;

/// Returns the version that a model or function imports, if it does.
pub(super) fn default_opset(imports: &[OperatorSetIdProto]) -> Result<Option<i64>, Defect> {
    let imported = imports.iter().find(|opset| is_default(&opset.domain));
    match imported.map(|opset| opset.version) {
        Some(seen) if !OPSETS.contains(&seen) => Err(Defect::Opset {
            seen,
            lowest: *OPSETS.start(),
            highest: *OPSETS.end(),
        }),
        version => Ok(version),
    }
}
