//! One chart per bench: first how cost grows, then a panel per cell and metric, with bars that carry their quartiles, or
//! median and 99th percentile of a latency.

use super::svg::{Anchor, Svg};
use super::table::{short, two_digits};
use crate::measure::{Growth, LOUD, Line, Measured, Row, Value, common_words};
use crate::plan::{Better, Role, role};

const WIDTH: f64 = 980.0;
const MARGIN: f64 = 20.0;
const GAP: f64 = 36.0;
const PANEL: f64 = (WIDTH - 2.0 * MARGIN - GAP) / 2.0;
/// Height of a bar with its distance to the next.
const STEP: f64 = 21.0;
/// Room above the bars of a panel.
const HEAD: f64 = 40.0;
/// Room for the names at the left, and for the figures at the right.
const NAMES: f64 = 128.0;
const FIGURES: f64 = 78.0;
/// Two of them, for a latency.
const LATENCIES: f64 = 104.0;
/// Characters in a line below the title.
const ABOUT: usize = 150;
const CURVE_HEIGHT: f64 = 300.0;

/// The chart of a bench. `None` if it has measured nothing that can be drawn.
pub(crate) fn chart(measured: &Measured) -> Option<String> {
    let panels = panels(measured);
    if panels.is_empty() {
        return None;
    }
    let mut svg = Svg::default();
    svg.text(MARGIN, 34.0, Anchor::Start, "title", measured.name);
    let mut y = 54.0;
    for line in wrapped(measured.about, ABOUT) {
        svg.text(MARGIN, y, Anchor::Start, "soft", line);
        y += 15.0;
    }
    y += 7.0;
    // Curves first, then the bars in a row of their own.
    let (curves, bars) = panels.split_at(
        panels
            .iter()
            .take_while(|panel| matches!(panel, Panel::Curve(_)))
            .count(),
    );
    for pair in curves.chunks(2).chain(bars.chunks(2)) {
        for (panel, x) in pair.iter().zip([MARGIN, MARGIN + PANEL + GAP]) {
            panel.draw(&mut svg, x, y);
        }
        y += pair.iter().map(Panel::height).fold(0.0, f64::max) + 26.0;
    }
    let rounds = match measured.rounds {
        1 => "one round".to_string(),
        count => format!("medians of {count} interleaved rounds, whiskers: quartiles"),
    };
    let legend = format!("{rounds}; dashed: a floor, no peer; a torn bar goes on");
    svg.text(MARGIN, y + 4.0, Anchor::Start, "soft", legend);
    if let Some(load) = measured.outside_load.filter(|load| load.median > LOUD) {
        y += 18.0;
        let warning = format!(
            "measured while other processes used {:.1} cores: see who is ahead, not by how much",
            load.median
        );
        svg.text(MARGIN, y + 4.0, Anchor::Start, "soft strong", warning);
    }
    Some(svg.finish(WIDTH, y + 20.0, measured.name))
}

/// Text in lines of at most `most` characters, longer words aside.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// What is drawn in one place.
enum Panel<'a> {
    Curve(&'a Growth),
    Bars {
        title: String,
        better: Better,
        entries: Vec<Entry<'a>>,
    },
    /// Entries with their 99th percentile.
    Latency {
        title: String,
        entries: Vec<(Entry<'a>, &'a Value)>,
    },
}

/// A contender in a panel.
struct Entry<'a> {
    label: String,
    value: &'a Value,
}

fn panels(measured: &Measured) -> Vec<Panel<'_>> {
    let drawn = measured
        .growth
        .iter()
        .filter(|growth| growth.lines.iter().any(|line| line.points.len() > 1));
    let mut panels: Vec<Panel> = drawn.map(Panel::Curve).collect();
    let mut groups: Vec<usize> = measured.rows.iter().map(|row| row.group).collect();
    groups.dedup();
    // What a curve shows need not be shown again for each of its points: three of them are enough.
    let mut on_curve: Vec<usize> = measured
        .rows
        .iter()
        .filter(|row| {
            measured
                .growth
                .iter()
                .any(|growth| growth.cells.contains(&row.cell))
        })
        .map(|row| row.group)
        .collect();
    on_curve.dedup();
    if let [first, .., last] = on_curve[..] {
        let middle = on_curve[(on_curve.len() - 1) / 2];
        groups.retain(|group| !on_curve.contains(group) || [first, middle, last].contains(group));
    }
    for group in groups {
        let rows: Vec<&Row> = measured
            .rows
            .iter()
            .filter(|row| row.group == group)
            .collect();
        group_panels(&rows, &mut panels);
    }
    panels
}

/// Cells of a group that show the same field of different runs share a panel.
fn group_panels<'a>(rows: &[&'a Row], panels: &mut Vec<Panel<'a>>) {
    let mut done: Vec<&str> = Vec::new();
    for row in rows {
        let field = row.metric.field;
        let Some(better) = row.metric.better else {
            continue;
        };
        if done.contains(&field) || field == "p99_us" && done.contains(&"p50_us") {
            continue;
        }
        done.push(field);
        let same = |field: &str| -> Vec<&'a Row> {
            let same = rows.iter().filter(|row| row.metric.field == field);
            same.copied().collect()
        };
        let together = same(field);
        let cell = common_words(together.iter().map(|row| row.cell.as_str()));
        let tails = same("p99_us");
        if matches!(field, "p50_us" | "p99_us") && !same("p50_us").is_empty() && !tails.is_empty() {
            done.extend(["p50_us", "p99_us"]);
            let medians = entries(&same("p50_us"), &cell, Better::Lower);
            let tail_of = |entry: Entry<'a>| {
                let mut all = tails.iter().flat_map(|row| &row.values);
                let tail = all.find(|tail| tail.run == entry.value.run)?;
                Some((entry, tail))
            };
            let mut entries: Vec<_> = medians.into_iter().filter_map(tail_of).collect();
            entries.sort_by(|a, b| a.1.summary.median.total_cmp(&b.1.summary.median));
            panels.push(Panel::Latency {
                title: format!("{cell}: latency, 50th and 99th percentile, µs"),
                entries,
            });
        } else {
            panels.push(Panel::Bars {
                title: format!("{cell}: {}", readable(row.metric.name)),
                better,
                entries: entries(&together, &cell, better),
            });
        }
    }
}

/// Each run once, the best first, floors last; named after its cell where several cells have a contender of that name.
fn entries<'a>(rows: &[&'a Row], cell: &str, better: Better) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry> = Vec::new();
    for row in rows {
        for value in &row.values {
            if entries.iter().any(|known| known.value.run == value.run) {
                continue;
            }
            let of_name = |row: &&Row| row.value(value.name).map(|value| value.run);
            let several = rows
                .iter()
                .any(|row| of_name(row).is_some_and(|run| run != value.run));
            let own = row
                .cell
                .split(' ')
                .filter(|word| !cell.split(' ').any(|other| other == *word));
            let own: String = own.map(|word| format!(" {word}")).collect();
            let label = format!(
                "{}{}",
                value.name,
                if several { own } else { String::new() }
            );
            entries.push(Entry { label, value });
        }
    }
    entries.sort_by(|a, b| {
        let order = a.value.summary.median.total_cmp(&b.value.summary.median);
        let floor = |entry: &Entry| role(entry.value.name) == Role::Floor;
        floor(a).cmp(&floor(b)).then(match better {
            Better::Lower => order,
            Better::Higher => order.reverse(),
        })
    });
    entries
}

fn readable(metric: &str) -> String {
    let text = match metric.strip_suffix("_per_s") {
        Some(what) => format!("{what} per second"),
        None => metric.to_string(),
    };
    let word = |word| match word {
        "us" => "µs",
        "cpu" => "CPU",
        other => other,
    };
    text.split('_').map(word).collect::<Vec<_>>().join(" ")
}

fn class(name: &str) -> &'static str {
    match role(name) {
        Role::Subject => "self",
        Role::Variant => "kin",
        Role::Peer => "peer",
        Role::Floor => "floor",
    }
}

fn name_class(name: &str) -> &'static str {
    match role(name) {
        Role::Subject => "strong",
        _ => "",
    }
}

impl Panel<'_> {
    fn height(&self) -> f64 {
        match self {
            Self::Curve(_) => CURVE_HEIGHT,
            Self::Bars { entries, .. } => HEAD + STEP * entries.len() as f64,
            Self::Latency { entries, .. } => HEAD + 18.0 + STEP * entries.len() as f64,
        }
    }

    fn draw(&self, svg: &mut Svg, x: f64, y: f64) {
        match self {
            Self::Curve(growth) => curve(svg, x, y, growth),
            Self::Bars {
                title,
                better,
                entries,
            } => bars(svg, x, y, title, *better, entries),
            Self::Latency { title, entries } => latency(svg, x, y, title, entries),
        }
    }
}

fn title(svg: &mut Svg, x: f64, y: f64, title: &str, better: Option<Better>) {
    svg.text(x, y + 12.0, Anchor::Start, "head", title);
    let better = match better {
        Some(Better::Higher) => "higher is better",
        Some(Better::Lower) => "lower is better",
        None => return,
    };
    svg.text(x, y + 28.0, Anchor::Start, "soft", better);
}

fn bars(svg: &mut Svg, x: f64, y: f64, name: &str, better: Better, entries: &[Entry<'_>]) {
    title(svg, x, y, name, Some(better));
    let largest = entries
        .iter()
        .map(|entry| entry.value.summary.high)
        .fold(0.0, f64::max);
    let of_interest = entries
        .iter()
        .filter(|entry| matches!(role(entry.value.name), Role::Subject | Role::Variant))
        .map(|entry| entry.value.summary.high)
        .chain([middle(entries)])
        .fold(0.0, f64::max);
    // A bar many times as long as those that matter would leave them no length to be compared by.
    let end = if largest > 5.0 * of_interest {
        3.0 * of_interest
    } else {
        largest
    };
    let room = PANEL - NAMES - FIGURES;
    let length = |value: f64| (value / end).clamp(0.0, 1.0) * room;
    for (index, entry) in entries.iter().enumerate() {
        let (top, summary) = (y + HEAD + STEP * index as f64, entry.value.summary);
        let (centre, name) = (top + STEP / 2.0 - 1.0, entry.value.name);
        let tip = format!(
            "{}: {} ({} to {})",
            entry.label, summary.median, summary.low, summary.high
        );
        let from = x + NAMES;
        svg.text(
            from - 8.0,
            centre + 4.0,
            Anchor::End,
            name_class(name),
            &entry.label,
        );
        svg.bar(
            from,
            top + 2.0,
            length(summary.median).max(1.0),
            STEP - 7.0,
            class(name),
            &tip,
        );
        if summary.median > end {
            for shift in [0.0, 7.0] {
                let cut = from + room * 0.82 + shift;
                svg.line((cut, top + STEP - 3.0), (cut + 5.0, top), "torn");
            }
        } else if summary.high > summary.low {
            let (low, high) = (from + length(summary.low), from + length(summary.high));
            svg.line((low, centre), (high, centre), "whisker");
            for end in [low, high] {
                svg.line((end, centre - 3.0), (end, centre + 3.0), "whisker");
            }
        }
        let right = x + PANEL;
        svg.text(
            right,
            centre + 4.0,
            Anchor::End,
            name_class(name),
            short(summary.median),
        );
    }
}

/// The median of the entries' medians, floors aside.
fn middle(entries: &[Entry<'_>]) -> f64 {
    let peers = entries
        .iter()
        .filter(|entry| role(entry.value.name) != Role::Floor);
    let medians = peers.map(|entry| entry.value.summary.median);
    crate::stats::Summary::of(medians).map_or(0.0, |summary| summary.median)
}

fn latency(svg: &mut Svg, x: f64, y: f64, name: &str, entries: &[(Entry<'_>, &Value)]) {
    title(svg, x, y, name, Some(Better::Lower));
    let all = entries
        .iter()
        .flat_map(|(entry, tail)| [entry.value.summary.median, tail.summary.median]);
    let scale = Scale::over(all, x + NAMES, x + PANEL - LATENCIES);
    let bottom = y + HEAD + STEP * entries.len() as f64;
    for tick in scale.ticks() {
        let at = scale.place(tick);
        svg.line((at, y + HEAD - 4.0), (at, bottom), "grid");
        svg.text(at, bottom + 13.0, Anchor::Middle, "soft", short_power(tick));
    }
    for (index, (entry, tail)) in entries.iter().enumerate() {
        let centre = y + HEAD + STEP * (index as f64 + 0.5) - 1.0;
        let (p50, p99, name) = (
            entry.value.summary.median,
            tail.summary.median,
            entry.value.name,
        );
        let (from, to) = (scale.place(p50), scale.place(p99));
        let class = class(name);
        svg.text(
            x + NAMES - 8.0,
            centre + 4.0,
            Anchor::End,
            name_class(name),
            &entry.label,
        );
        svg.line((from, centre), (to, centre), &format!("line {class}"));
        svg.dot(
            (from, centre),
            4.0,
            class,
            &format!("{}: p50 {p50} us", entry.label),
        );
        svg.dot(
            (to, centre),
            4.0,
            &format!("{class} hollow"),
            &format!("{}: p99 {p99} us", entry.label),
        );
        let figures = format!("{} / {}", short(p50), short(p99));
        svg.text(
            x + PANEL,
            centre + 4.0,
            Anchor::End,
            name_class(name),
            figures,
        );
    }
}

fn curve(svg: &mut Svg, x: f64, y: f64, growth: &Growth) {
    title(
        svg,
        x,
        y,
        &format!("{} over {}", readable(growth.metric), growth.axis),
        None,
    );
    let which = match growth.common.as_str() {
        "" => String::new(),
        words => format!("{words}; "),
    };
    let legend = format!("{which}in brackets the fitted exponent");
    svg.text(x, y + 28.0, Anchor::Start, "soft", legend);
    let lines: Vec<&Line> = growth
        .lines
        .iter()
        .filter(|line| line.points.len() > 1)
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let (left, right) = (x + 46.0, x + PANEL - 132.0);
    let (top, bottom) = (y + HEAD + 4.0, y + CURVE_HEIGHT - 24.0);
    let across = Scale::over(points().map(|point| point.0), left, right);
    let up = Scale::over(points().map(|point| point.1), bottom, top);
    for tick in up.ticks() {
        svg.line((left, up.place(tick)), (right, up.place(tick)), "grid");
        svg.text(
            left - 6.0,
            up.place(tick) + 4.0,
            Anchor::End,
            "soft",
            short_power(tick),
        );
    }
    for tick in across.ticks() {
        svg.line(
            (across.place(tick), bottom),
            (across.place(tick), bottom + 4.0),
            "grid",
        );
        svg.text(
            across.place(tick),
            bottom + 16.0,
            Anchor::Middle,
            "soft",
            short_power(tick),
        );
    }
    // bingfa last, so that it lies above the others.
    let mut order: Vec<(usize, &&Line)> = lines.iter().enumerate().collect();
    order.sort_by_key(|(_, line)| role(line.name) == Role::Subject);
    let place = |&(x, y): &(f64, f64)| (across.place(x), up.place(y));
    for &(index, line) in &order {
        let colour = colour(line.name, index);
        let path: Vec<_> = line.points.iter().map(place).collect();
        svg.polyline(&path, &format!("line {colour}"));
        for (at, point) in path.iter().zip(&line.points) {
            let tip = format!("{}: {} at {}", line.name, point.1, point.0);
            svg.dot(*at, 3.0, &format!("{colour} hollow"), &tip);
        }
    }
    let ends = order
        .iter()
        .filter_map(|(_, line)| Some(place(line.points.last()?).1));
    let heights = spread(&ends.collect::<Vec<_>>(), 13.0, top, bottom + 20.0);
    for ((index, line), height) in order.iter().zip(heights) {
        let end = place(&line.points[line.points.len() - 1]);
        let colour = colour(line.name, *index);
        svg.line(
            (end.0 + 4.0, end.1),
            (right + 16.0, height),
            &format!("leader {colour}"),
        );
        svg.line(
            (right + 16.0, height),
            (right + 24.0, height),
            &format!("line {colour}"),
        );
        let label = match line.exponent {
            Some(exponent) => format!("{} ({})", line.name, two_digits(exponent)),
            None => line.name.to_string(),
        };
        svg.text(
            right + 28.0,
            height + 4.0,
            Anchor::Start,
            name_class(line.name),
            label,
        );
    }
}

/// A colour of its own for each peer's line.
fn colour(name: &str, index: usize) -> String {
    match role(name) {
        Role::Subject => "self".into(),
        Role::Variant => "kin".into(),
        Role::Floor => "floor".into(),
        Role::Peer => format!("c{}", index % 10),
    }
}

/// Moves heights apart until neighbours are `distance` apart, within `top` and `bottom` as far as there is room.
fn spread(heights: &[f64], distance: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    let mut placed = heights.to_vec();
    let mut free = top;
    for &index in &order {
        placed[index] = placed[index].max(free);
        free = placed[index] + distance;
    }
    let mut free = bottom;
    for &index in order.iter().rev() {
        placed[index] = placed[index].min(free);
        free = placed[index] - distance;
    }
    placed
}

/// A logarithmic scale between two places.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Over the values and a little more, half a decade at least; what has no logarithm is drawn at the edge.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logarithms = values
            .filter(|value| *value > 0.0 && value.is_finite())
            .map(f64::log10);
        let (low, high) = logarithms.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let high = high.max(low + 0.5);
        let room = (high - low) * 0.04;
        Self {
            low: low - room,
            high: high + room,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.max(f64::MIN_POSITIVE).log10() - self.low) / (self.high - self.low);
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// The powers of ten within it; with less than two, 2 and 5 times them as well.
    fn ticks(&self) -> Vec<f64> {
        let within = |tick: &f64| (self.low - 1e-9..=self.high + 1e-9).contains(&tick.log10());
        let powers = (self.low.floor() as i32)..=(self.high.ceil() as i32);
        let tens: Vec<f64> = powers
            .clone()
            .map(|power| 10f64.powi(power))
            .filter(within)
            .collect();
        if tens.len() > 1 {
            return tens;
        }
        let finer = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
        finer.filter(within).collect()
    }
}

/// A round number as short as can be: 500, 20k, 1M, 0.01.
fn short_power(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{}G", (value / 1e9).round()),
        value if value >= 1e6 => format!("{}M", (value / 1e6).round()),
        value if value >= 1e3 => format!("{}k", (value / 1e3).round()),
        value if value >= 1.0 => format!("{}", value.round()),
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_contender_is_drawn_with_its_figure() {
        let text = chart(&sample()).unwrap();
        for part in [
            "tasks=2: ns per switch",
            "lower is better",
            ">bingfa<",
            ">4.20<",
            ">may<",
            ">28.0<",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        // The floor is drawn as one.
        assert!(
            text.contains(r#"class="floor"><title>corosensei"#),
            "{text}"
        );
    }

    #[test]
    fn a_chart_measured_beside_other_work_says_so() {
        let mut measured = sample();
        assert!(!chart(&measured).unwrap().contains("other processes"));
        measured.outside_load = crate::stats::Summary::of([0.1, 1.5, 1.6]);
        assert!(
            chart(&measured)
                .unwrap()
                .contains("other processes used 1.5 cores")
        );
    }

    #[test]
    fn long_texts_are_wrapped_between_words() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(
            wrapped("incomprehensible word", 4),
            ["incomprehensible", "word"]
        );
        assert!(wrapped("", 4).is_empty());
    }

    #[test]
    fn labels_keep_their_distance() {
        let placed = spread(&[10.0, 11.0, 100.0, 12.0], 13.0, 0.0, 100.0);
        assert_eq!(placed, [10.0, 23.0, 100.0, 36.0]);
        let placed = spread(&[95.0, 99.0, 98.0], 13.0, 0.0, 100.0);
        assert_eq!(placed, [74.0, 100.0, 87.0]);
    }

    #[test]
    fn a_scale_shows_whole_decades_or_parts_of_one() {
        let scale = Scale::over([1.0, 1000.0].into_iter(), 0.0, 300.0);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((scale.place(10.0) - 100.0).abs() < 15.0);
        let scale = Scale::over([3.0, 4.0].into_iter(), 0.0, 100.0);
        assert!(scale.ticks().contains(&5.0) || scale.ticks().contains(&2.0));
        // Values without a logarithm do not spoil it.
        let scale = Scale::over([0.0, f64::NAN].into_iter(), 0.0, 100.0);
        assert!(scale.place(0.0).is_finite());
    }
}
