//! Sums of products, in the notation of Einstein.

use std::fmt;

/// An equation such as `bij,bjk->bik`: the letters of the dimensions of each input, and of the output.
///
/// Invariants: the output has no letter twice and none that no input has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equation {
    pub inputs: Vec<Term>,
    pub output: Term,
}

/// The dimensions of one tensor, in order.
pub type Term = Vec<Subscript>;

/// One dimension, or the `...` that stands for those without a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subscript {
    Ellipsis,
    Letter(char),
}

impl Equation {
    /// Reads an equation; without `->` the output has the letters that occur once, in alphabetical order.
    pub fn parse(text: &str) -> Option<Self> {
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text, None),
        };
        let inputs = left.split(',').map(term).collect::<Option<Vec<_>>>()?;
        let output = match right {
            Some(right) => term(right)?,
            None => implied(&inputs),
        };
        let mut sorted = output.clone();
        sorted.sort_unstable();
        let repeated = sorted.windows(2).any(|pair| pair[0] == pair[1]);
        let known = |subscript: &Subscript| {
            *subscript == Subscript::Ellipsis || inputs.iter().any(|term| term.contains(subscript))
        };
        (!repeated && output.iter().all(known)).then_some(Self { inputs, output })
    }
}

/// Reads the letters of one tensor, with at most one `...` among them.
fn term(text: &str) -> Option<Term> {
    let mut term = Term::new();
    let text: String = text.chars().filter(|letter| *letter != ' ').collect();
    let mut rest = text.as_str();
    while let Some(letter) = rest.chars().next() {
        let subscript = if let Some(after) = rest.strip_prefix("...") {
            rest = after;
            Subscript::Ellipsis
        } else {
            rest = &rest[letter.len_utf8()..];
            Subscript::Letter(Some(letter).filter(char::is_ascii_alphabetic)?)
        };
        if subscript == Subscript::Ellipsis && term.contains(&subscript) {
            return None;
        }
        term.push(subscript);
    }
    Some(term)
}

fn implied(inputs: &[Term]) -> Term {
    let all: Vec<Subscript> = inputs.iter().flatten().copied().collect();
    let count = |subscript: &Subscript| all.iter().filter(|other| *other == subscript).count();
    let mut output: Term = all
        .iter()
        .copied()
        .filter(|subscript| *subscript == Subscript::Ellipsis || count(subscript) == 1)
        .collect();
    output.sort_unstable();
    output.dedup();
    output
}

impl fmt::Display for Subscript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ellipsis => f.write_str("..."),
            Self::Letter(letter) => write!(f, "{letter}"),
        }
    }
}

impl fmt::Display for Equation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, input) in self.inputs.iter().enumerate() {
            f.write_str(if place > 0 { "," } else { "" })?;
            input.iter().try_for_each(|subscript| subscript.fmt(f))?;
        }
        f.write_str("->")?;
        self.output
            .iter()
            .try_for_each(|subscript| subscript.fmt(f))
    }
}
