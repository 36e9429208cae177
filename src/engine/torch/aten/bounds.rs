//! A bound for results whose size is data, so that a request cannot ask for more memory than there is.

use super::super::cause::Cause;

/// Elements of a result at most.
const ELEMENTS_MAX: i64 = 1 << 31;

/// Returns a shape that comes from data, if a tensor of it may be made.
pub(super) fn checked(shape: Vec<i64>) -> Result<Vec<i64>, Cause> {
    let negative = shape.iter().any(|&size| size < 0);
    let count = shape
        .iter()
        .try_fold(1_i64, |count, &size| count.checked_mul(size))
        .filter(|&count| count <= ELEMENTS_MAX);
    match count {
        _ if negative => Err(Cause::new(format!("the result would have shape {shape:?}"))),
        Some(_) => Ok(shape),
        None => Err(Cause::new(format!(
            "the result would have shape {shape:?}, more than {ELEMENTS_MAX} elements"
        ))),
    }
}
