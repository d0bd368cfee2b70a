//! Lines over heights, drawn as SVG.

use maud::{Markup, html};

use super::look::btc;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 200;

/// One line: its name, its class, and its value at each point, in satoshi.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) values: Vec<u64>,
}

/// A chart of lines that all have a value at each of these heights.
pub(super) fn chart(heights: &[u32], lines: &[Line]) -> Markup {
    let most = lines.iter().flat_map(|line| &line.values).copied().max().unwrap_or_default().max(1);
    let (Some(first), Some(last)) = (heights.first(), heights.last()) else { return html! {} };
    html! {
        figure.chart {
            svg viewBox={ "-4 -8 " (WIDTH.saturating_add(8)) " " (HEIGHT.saturating_add(16)) } role="img"
                aria-label={ "from block " (first) " to block " (last) } preserveAspectRatio="none" {
                line.axis x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) {}
                @for line in lines {
                    polyline class=(line.class) points=(points(&line.values, most)) {}
                }
            }
            figcaption {
                span.range { "block " (first) " to " (last) ", 0 to " (btc(most)) }
                @for line in lines { span.legend { span class={ "mark " (line.class) } {} (line.name) } }
            }
        }
    }
}

/// Where the values lie, from left to right.
fn points(values: &[u64], most: u64) -> String {
    let gaps = u128::try_from(values.len().saturating_sub(1)).unwrap_or(1).max(1);
    let points = (0u128..).zip(values).map(|(number, value)| {
        let x = number.saturating_mul(WIDTH.into()).checked_div(gaps).unwrap_or_default();
        let height = u128::from(*value).saturating_mul(HEIGHT.into()).checked_div(most.into()).unwrap_or_default();
        format!("{x},{}", u128::from(HEIGHT).saturating_sub(height))
    });
    points.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fill_the_chart() {
        assert_eq!(points(&[0, 50, 100], 100), "0,200 360,100 720,0");
        assert_eq!(points(&[u64::MAX], u64::MAX), "0,0");
        assert_eq!(points(&[], 1), "");
    }
}
