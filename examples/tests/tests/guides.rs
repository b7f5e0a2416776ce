//! The guides show what the examples really say: each block of Rust under `<!-- from FILE -->` is a part of that file.

use std::path::Path;

#[test]
fn every_block_of_the_guide_is_a_part_of_the_file_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let guide = read("docs/guides/bring-your-own-orm.md");
    let mut checked = 0;
    for (before, rest) in guide.match_indices("```").step_by(2).map(|(at, _)| guide.split_at(at)) {
        let (block, _) = rest[3..].split_once("\n```").expect("a block that ends");
        let (language, block) = block.split_once('\n').expect("a block with lines");
        let Some((_, marked)) = before.trim_end().rsplit_once('\n') else { continue };
        let Some(file) = marked.strip_prefix("<!-- from ").and_then(|rest| rest.strip_suffix(" -->")) else {
            assert_ne!(language, "rust", "a block of Rust that no file is named for:\n{block}");
            continue;
        };
        assert!(read(file).contains(&format!("{block}\n")), "this is not in {file}:\n{block}");
        checked += 1;
    }
    assert!(checked >= 6, "{checked} blocks");
}
