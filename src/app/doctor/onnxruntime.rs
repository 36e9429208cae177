//! ONNX Runtime: whether its library can be loaded.

use crate::engine::onnxruntime;

use super::Finding;
use super::needs::Needs;

const CHECK: &str = "ONNX Runtime";

/// What it says of itself, or why there is none.
pub(super) type Seen = Result<String, String>;

pub(super) fn look() -> Seen {
    onnxruntime::available().map_err(|error| error.to_string())?;
    Ok(onnxruntime::version().trim().to_owned())
}

pub(super) fn judge(seen: &Seen, needs: &Needs) -> Finding {
    match seen {
        Ok(version) => Finding::ok(CHECK, version.clone()),
        Err(cause) => Finding::missing(
            CHECK,
            cause.clone(),
            "pip install onnxruntime, then set ORT_DYLIB_PATH to the libonnxruntime.so of that package; only engine = \"onnxruntime\" needs it",
        ),
    }
    .for_keys(&needs.onnxruntime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;

    #[test]
    fn only_blocks_that_name_it_need_it() {
        let mut needs = Needs::default();
        let gone = Err("no such file".to_owned());
        assert!(judge(&gone, &needs).needed_by.is_empty());
        needs.onnxruntime.push("blocks.a.engine".into());
        let finding = judge(&gone, &needs);
        assert_eq!(
            (finding.status, finding.needed_by.len()),
            (Status::Missing, 1)
        );
        assert!(
            finding
                .remedy
                .is_some_and(|text| text.contains("ORT_DYLIB_PATH"))
        );
        let there = judge(&Ok("1.26.0".into()), &needs);
        assert_eq!(there.status, Status::Ok);
    }
}
