//! Producers say what they cooked, and consumers what they ate.

/// `lines` has what `cooked` and `eaten` say of each of `foods` and `numbers`, and nothing else;
/// nothing is eaten before it was cooked.
#[track_caller]
pub(crate) fn each_is_eaten_once(
    lines: &[&str],
    foods: &[&str],
    numbers: std::ops::Range<u32>,
    name: impl Fn(u32, &str) -> String,
    eaten: &str,
) {
    for food in foods {
        for number in numbers.clone() {
            let portion = name(number, food);
            let said: Vec<_> = lines
                .iter()
                .filter(|line| line.ends_with(&portion))
                .collect();
            assert_eq!(said.len(), 2, "{portion}: {said:?}");
            assert!(
                !said[0].contains(eaten) && said[1].contains(eaten),
                "{said:?}"
            );
        }
    }
    assert_eq!(lines.len(), 2 * foods.len() * numbers.len());
}

/// What the cooks of P23 and P24 make.
pub(crate) fn portion(number: u32, food: &str) -> String {
    format!("第{number}个{food}")
}

/// What those of P25 and P26 make.
pub(crate) fn dish(number: u32, food: &str) -> String {
    format!("{food}{number}")
}
