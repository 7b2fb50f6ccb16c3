//! The report as a page: the charts, all figures, the machine, and how to repeat it.

use super::svg::escape;
use super::table;
use crate::measure::Measured;
use crate::system::System;
use std::fmt::Write;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--grid:#d9dee4;--page:#fff;--shade:#f5f7f9}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--grid:#2b323b;--page:#0d1117;--shade:#161b22}}
body{font:15px/1.55 system-ui,-apple-system,'Segoe UI','Noto Sans',sans-serif;color:var(--ink);background:var(--page);
max-width:1000px;margin:2.5rem auto;padding:0 1.2rem}
h1{font-size:1.7rem;margin-bottom:.3rem}h2{margin-top:3.2rem;border-top:1px solid var(--grid);padding-top:1.6rem}
p.soft,li,.facts,nav{color:var(--soft)}nav a{margin-right:.8rem}a{color:inherit}
svg{max-width:100%;height:auto}
table{border-collapse:collapse;font-size:12.5px;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}th,td{padding:.22rem .6rem;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
td:nth-child(-n+2),th:nth-child(-n+2),.facts td{text-align:left;white-space:normal}td:last-child{font-weight:600}.facts td{font-weight:400}
.facts td:first-child{white-space:nowrap}
pre{background:var(--shade);padding:.7rem .9rem;border-radius:6px;overflow-x:auto;font-size:13px}
details{margin:.8rem 0}summary{cursor:pointer}";

/// The page. `charts` are those of `all`, in order.
pub(super) fn page(
    all: &[Measured],
    charts: &[Option<String>],
    system: &System,
    command: &str,
) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>bingfa: benchmarks</title>\n<style>{STYLE}</style>\n<h1>bingfa beside its peers</h1>\n\
         <p class=\"soft\">Each contender ran in a process of its own, pinned and warmed up; a round runs every contender once, \
         in random order. Figures are medians over the rounds; a ratio is the median of the ratios of single rounds, above 1 when \
         bingfa is better than the best peer. <code>bench/README.md</code> has the method, <code>results.json</code> the figure of \
         every round.</p>\n<nav>"
    );
    for measured in all {
        let _ = write!(html, "<a href=\"#{0}\">{0}</a>", escape(measured.name));
    }
    let _ = write!(
        html,
        "</nav>\n<h2 id=\"machine\">The machine, and how to repeat it</h2>\n<pre>{}</pre>\n<table class=\"facts\">\n",
        escape(command)
    );
    for (name, value) in &system.facts {
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td></tr>",
            escape(name),
            escape(value)
        );
    }
    html.push_str("</table>\n");
    for (measured, chart) in all.iter().zip(charts) {
        bench(&mut html, measured, chart.as_deref().unwrap_or_default());
    }
    html.push_str("</html>\n");
    html
}

fn bench(html: &mut String, measured: &Measured, chart: &str) {
    let name = escape(measured.name);
    let load = measured.outside_load.map_or(String::new(), |load| {
        format!(
            "; other processes used {:.2} cores (median over the runs, at most {:.2})",
            load.median, load.most
        )
    });
    let _ = write!(
        html,
        "<h2 id=\"{name}\">{name}</h2>\n<p>{}.</p>\n<p class=\"soft\">Fair because: {}.</p>\n{chart}\n\
         <p class=\"soft\">{} round{} in {:.0} s{load}.</p>\n",
        escape(measured.about),
        escape(measured.fair),
        measured.rounds,
        if measured.rounds == 1 { "" } else { "s" },
        measured.seconds,
    );
    html.push_str("<details open><summary>All figures</summary>\n<div class=\"wide\"><table>\n");
    for (index, line) in table::lines(measured).iter().enumerate() {
        let tag = if index == 0 { "th" } else { "td" };
        html.push_str("<tr>");
        for word in line {
            let _ = write!(html, "<{tag}>{}</{tag}>", escape(word));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div></details>\n<ul>\n");
    for note in table::growth(measured).iter().chain(&measured.notes) {
        let _ = writeln!(html, "<li>{}</li>", escape(note));
    }
    let _ = write!(
        html,
        "</ul>\n<pre>cargo run --release --manifest-path bench/Cargo.toml -- {name}</pre>\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{chart, sample};

    #[test]
    fn the_page_has_chart_table_machine_and_command() {
        let system = System {
            facts: vec![("cpu", "a <test>".into())],
        };
        let charts = [chart::chart(&sample())];
        let text = page(&[sample()], &charts, &system, "bench switch --quick");
        for part in [
            "<svg ",
            "<td>6.67 (may)</td>",
            "a &lt;test&gt;",
            "bench switch --quick",
            "-- switch</pre>",
            "<li>quiet</li>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
