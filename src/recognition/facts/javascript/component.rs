//! Finds the scripts of Vue, Svelte and Astro components.

use std::path::Path;

/// Returns the text of a component with everything but its scripts replaced by spaces, so that line numbers stay;
/// `None` for a file that is entirely a script.
pub(super) fn scripts(file: &Path, text: &str) -> Option<String> {
    let ranges = match file.extension()?.to_str()? {
        "vue" | "svelte" => elements(text),
        "astro" => frontmatter(text).into_iter().collect(),
        _ => return None,
    };
    let mut result = String::with_capacity(text.len());
    let mut place = 0;
    for (start, end) in ranges {
        result.extend(text[place..start].chars().map(blank));
        result.push_str(&text[start..end]);
        place = end;
    }
    result.extend(text[place..].chars().map(blank));
    Some(result)
}

fn blank(c: char) -> char {
    if c == '\n' { c } else { ' ' }
}

/// Returns the byte ranges of the contents of `<script>` elements.
fn elements(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut place = 0;
    while let Some(tag) = text[place..].find("<script") {
        let tag = place + tag;
        let Some(start) = text[tag..].find('>').map(|end| tag + end + 1) else { break };
        let end = text[start..].find("</script").map_or(text.len(), |end| start + end);
        found.push((start, end));
        place = end;
    }
    found
}

/// Returns the byte range of the code between the two lines `---` at the start.
fn frontmatter(text: &str) -> Option<(usize, usize)> {
    let start = text.find("---")? + 3;
    let end = text[start..].find("\n---").map(|end| start + end)?;
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_of_a_component_stay_and_keep_their_lines() {
        let vue = "<template>é</template>\n<script setup lang=\"ts\">\nconst a = 1\n</script>\n";
        let found = scripts(Path::new("a.vue"), vue).unwrap();
        assert_eq!(found.lines().nth(2), Some("const a = 1"));
        assert!(!found.contains("template") && !found.contains("setup"));
        let astro = scripts(Path::new("a.astro"), "---\nconst a = 1\n---\n<p/>\n").unwrap();
        assert_eq!(astro.trim(), "const a = 1");
        assert_eq!(scripts(Path::new("a.ts"), "x"), None);
    }
}
