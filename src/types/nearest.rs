//! The name that was probably meant, for messages about names that do not exist.

/// Longest name that is compared; a longer one gets no suggestion.
const LENGTH_MAX: usize = 64;

/// Returns the candidate closest to `name`, if one is close enough to be a slip of the hand: equal but for case and
/// separators, the beginning of it, or at most one edit in three letters away. The first of equally close ones wins.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let seen = normal(name);
    if seen.is_empty() || seen.len() > LENGTH_MAX {
        return None;
    }
    let allowed = (seen.len() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LENGTH_MAX)
        .filter_map(|candidate| {
            let other = normal(candidate);
            let prefix = seen.len() >= 3 && (other.starts_with(&seen) || seen.starts_with(&other));
            let distance = edits(&seen, &other);
            let close = distance <= allowed && distance < other.len();
            (close || (prefix && !other.is_empty())).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn normal(name: &str) -> Vec<char> {
    let kept = |letter: &char| !matches!(letter, '-' | '_' | ' ');
    name.chars()
        .filter(kept)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other (optimal string
/// alignment).
fn edits(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut best = replaced.min(last[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut last, line);
    }
    last[right.len()]
}
