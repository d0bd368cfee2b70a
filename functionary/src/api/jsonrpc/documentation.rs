//! The page of the documentation about the calls (`JSON-RPC.md`), which a test keeps up to date.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use super::refused;
use super::table::{Category, of};

fn page() -> String {
    let mut page = "# JSON-RPC\n\n".to_owned();
    page.push_str(
        "Made from the code (`functionary/src/api/jsonrpc/`); a test says how to make it anew. What the interface is, how to\n\
         switch it on and how to log in: README.md.\n",
    );
    for category in Category::ALL {
        let _ = write!(page, "\n## {}\n\n| call | what it does |\n|---|---|\n", category.name());
        for command in of(category) {
            let text = command.text.replace('\n', " ").replace('|', "\\|");
            let _ = writeln!(page, "| `{}` | {text} |", command.usage().replace('|', "\\|"));
        }
    }
    page.push_str("\n## Not served\n\nCode -32601, with the reason.\n\n| calls | reason |\n|---|---|\n");
    for group in refused::GROUPS {
        let names: Vec<String> = group.names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "| {} | {} |", names.join(" "), group.reason);
    }
    page.push_str(
        "\nThere is no ZMQ and no REST: `blockchain.headers.subscribe` of the Electrum interface tells of new blocks, and the\n\
         Esplora interface answers plain HTTP.\n",
    );
    page
}

#[test]
fn the_page_of_the_documentation_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("JSON-RPC.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("AQUIFER_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    } else {
        assert_eq!(
            written,
            page(),
            "make it anew with AQUIFER_WRITE_DOCS=1 cargo test --workspace --lib the_page_of_the_documentation"
        );
    }
}
