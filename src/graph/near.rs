//! Names that a person may have meant.

/// Returns the few candidates that are most like `name`, best first; none if nothing is like it.
pub(super) fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    const SHOWN: usize = 3;
    const LIKE: f64 = 0.7;
    /// Names of a file may be of any length, and comparing costs the product of two.
    const LENGTH_MAX: usize = 256;
    let mut scored: Vec<_> = candidates
        .filter(|candidate| candidate.len().max(name.len()) <= LENGTH_MAX)
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(name, candidate),
                candidate,
            )
        })
        .filter(|(score, _)| *score >= LIKE)
        .collect();
    scored.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    scored
        .into_iter()
        .take(SHOWN)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}
