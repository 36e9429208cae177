//! The name that was probably meant, for messages about names that do not exist.

use strsim::osa_distance;

/// Longest name that is compared; a longer one gets no suggestion.
const LENGTH_MAX: usize = 256;

/// Returns the candidate closest to `name`, if one is close enough to be a slip of the hand: equal but for case and
/// separators, the beginning of it, or at most one edit in three letters away. The first of equally close ones wins.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let seen = normal(name);
    if seen.is_empty() || seen.len() > LENGTH_MAX {
        return None;
    }
    let letters = seen.chars().count();
    let allowed = (letters / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LENGTH_MAX)
        .filter_map(|candidate| {
            let other = normal(candidate);
            let prefix = letters >= 3 && (other.starts_with(&seen) || seen.starts_with(&other));
            let distance = osa_distance(&seen, &other);
            let close = distance <= allowed && distance < other.chars().count();
            (close || (prefix && !other.is_empty())).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn normal(name: &str) -> String {
    let kept = |letter: &char| !matches!(letter, '-' | '_' | ' ');
    name.chars()
        .filter(kept)
        .flat_map(char::to_lowercase)
        .collect()
}
