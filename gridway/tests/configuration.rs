//! The configuration reference is written from the settings that the code reads.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "only says whether to write the reference anew"
)]
fn the_reference_lists_every_setting() {
    let path = "../docs/configuration.md";
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let expected = gridway::config::document();
    if std::env::var("UPDATE_DOCS").is_ok() {
        std::fs::write(path, expected).unwrap();
        return;
    }
    assert_eq!(
        text, expected,
        "write it anew: `gridway configuration > docs/configuration.md`"
    );
}
