//! The few shapes that the charts consist of, as SVG text. Colours are classes: one style sheet has them for a light and
//! for a dark page, so that the same file suits both.

use std::fmt::{Display, Write};

/// What every chart begins with. `prefers-color-scheme` also reaches an SVG that is shown as an image.
const STYLE: &str = "\
svg.bench{--ink:#1f2328;--soft:#59636e;--grid:#d9dee4;--page:#ffffff;--self:#cf3f24;--kin:#e79a86;--peer:#98a2ad;--floor:#59636e}\
@media(prefers-color-scheme:dark){svg.bench{--ink:#e6edf3;--soft:#9198a1;--grid:#2b323b;--page:#0d1117;--self:#ff7a5c;--kin:#9c4f3e;--peer:#5f6974;--floor:#9198a1}}\
svg.bench text{font-family:system-ui,-apple-system,'Segoe UI','Noto Sans',sans-serif;font-size:12px;fill:var(--ink)}\
svg.bench .title{font-size:18px;font-weight:650}svg.bench .head{font-size:13px;font-weight:600}\
svg.bench .soft{fill:var(--soft);font-size:11px}svg.bench .strong{font-weight:700}\
svg.bench .page{fill:var(--page)}svg.bench .grid{stroke:var(--grid);fill:none}svg.bench .whisker{stroke:var(--ink);stroke-width:1.3;fill:none}\
svg.bench .torn{stroke:var(--page);stroke-width:3}\
svg.bench .self{fill:var(--self);stroke:var(--self)}svg.bench .kin{fill:var(--kin);stroke:var(--kin)}\
svg.bench .peer{fill:var(--peer);stroke:var(--peer)}svg.bench .floor{fill:none;stroke:var(--floor);stroke-dasharray:3 2}\
svg.bench .line{fill:none;stroke-width:1.8}svg.bench .line.self{stroke-width:3}svg.bench .leader{stroke-width:.7;opacity:.6}\
svg.bench .hollow{fill:var(--page)}\
svg.bench .c0{stroke:#2f78c4}svg.bench .c1{stroke:#2a9367}svg.bench .c2{stroke:#b7791f}svg.bench .c3{stroke:#8a5cc2}\
svg.bench .c4{stroke:#1c93a8}svg.bench .c5{stroke:#b8487f}svg.bench .c6{stroke:#6f7d1f}svg.bench .c7{stroke:#7b6252}\
svg.bench .c8{stroke:#4b5bb5}svg.bench .c9{stroke:#5d7f8c}";

/// Where a text is fixed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// An SVG being written.
#[derive(Debug, Default)]
pub(super) struct Svg {
    body: String,
}

impl Svg {
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: impl Display) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(&text.to_string());
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        );
    }

    /// A rectangle with a tooltip.
    pub(super) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str, tip: &str) {
        let tip = escape(tip);
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" class="{class}"><title>{tip}</title></rect>"#
        );
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        );
    }

    pub(super) fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            self.body,
            r#"<polyline points="{points}" class="{class}"/>"#
        );
    }

    pub(super) fn dot(&mut self, at: (f64, f64), radius: f64, class: &str, tip: &str) {
        let ((x, y), tip) = (at, escape(tip));
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" class="{class}"><title>{tip}</title></circle>"#
        );
    }

    /// The whole file, of this size.
    pub(super) fn finish(self, width: f64, height: f64, label: &str) -> String {
        let (label, body) = (escape(label), self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"bench\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{label}\">\n<style>{STYLE}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" class=\"page\"/>\n{body}</svg>\n"
        )
    }
}

/// Text as XML and HTML want it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_file() {
        let mut svg = Svg::default();
        svg.text(1.0, 2.0, Anchor::Start, "head", "a<b & \"c\"");
        let text = svg.finish(10.0, 20.0, "x");
        assert!(text.contains("a&lt;b &amp; &quot;c&quot;</text>"), "{text}");
        assert!(text.contains("prefers-color-scheme:dark"));
    }
}
