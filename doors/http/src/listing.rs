//! The page that lists a directory. No script, nothing from elsewhere; light or dark as the reader likes it.

use std::fmt::Write;

use percent_encoding::percent_encode;

use crate::ask::IN_PATH;

/// Entries on one page. A page of more would not be read by anybody, and would take as many blocks to make.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// A line of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name. Not always text.
    pub(crate) name: Vec<u8>,
    /// Its CID, if it has one.
    pub(crate) cid: Option<String>,
    /// Bytes: of a directory, of all below; nobody may know.
    pub(crate) size: Option<u64>,
    /// A directory for sure, so that its link ends in a slash.
    pub(crate) is_folder: bool,
}

/// What the page is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing<'a> {
    /// The content path of the directory.
    pub(crate) path: &'a str,
    /// Its CID, if it has one.
    pub(crate) cid: Option<&'a str>,
    /// Whether there is a directory above it here.
    pub(crate) has_parent: bool,
    /// Where CIDs are linked to: before each.
    pub(crate) cid_prefix: Option<&'a str>,
    /// What is in it.
    pub(crate) entries: &'a [Entry],
    /// There is more than is listed.
    pub(crate) is_cut: bool,
}

impl Listing<'_> {
    /// The page.
    pub(crate) fn page(&self) -> String {
        let title = escaped(&percent_encoding::percent_decode_str(self.path).decode_utf8_lossy());
        let mut page = String::with_capacity(4096 + self.entries.len() * 256);
        let _ =
            write!(page, "{HEAD}<title>{title}</title>\n<style>{STYLE}</style>\n<main>\n<h1>{title}</h1>\n");
        self.write_facts(&mut page);
        page.push_str("<table>\n");
        if self.has_parent {
            page.push_str("<tr><td><a href=\"..\">..</a><td><td>\n");
        }
        for entry in self.entries {
            self.write_entry(&mut page, entry);
        }
        page.push_str("</table>\n");
        if self.is_cut {
            let _ = writeln!(page, "<p>and more: these are the first {}.", self.entries.len());
        }
        page.push_str("</main>\n");
        page
    }

    fn write_facts(&self, page: &mut String) {
        let count = self.entries.len();
        let noun = if count == 1 { "entry" } else { "entries" };
        let _ = write!(page, "<p>{count} {noun}");
        if let Some(total) =
            self.entries.iter().map(|entry| entry.size).sum::<Option<u64>>().filter(|_| count > 0)
        {
            let _ = write!(page, ", {}", size(total));
        }
        if let Some(cid) = self.cid {
            let cid = escaped(cid);
            let _ = write!(
                page,
                " · <code>{cid}</code> · <a href=\"?format=tar&amp;download=true\">tar</a> · <a href=\"?format=car\">car</a>"
            );
        }
        page.push('\n');
    }

    fn write_entry(&self, page: &mut String, entry: &Entry) {
        let slash = if entry.is_folder { "/" } else { "" };
        let link = escaped(&percent_encode(&entry.name, IN_PATH).to_string());
        let name = escaped(&String::from_utf8_lossy(&entry.name));
        // Without the dot, a name with a colon would be taken for a scheme.
        let _ = write!(page, "<tr><td><a href=\"./{link}{slash}\">{name}{slash}</a><td>");
        if let Some(bytes) = entry.size {
            let _ = write!(page, "<span title=\"{bytes} bytes\">{}</span>", size(bytes));
        }
        page.push_str("<td>");
        if let Some(cid) = &entry.cid {
            let cid = escaped(cid);
            let short = short(&cid);
            match self.cid_prefix {
                Some(prefix) => {
                    let prefix = escaped(prefix);
                    let _ = write!(
                        page,
                        "<a class=cid href=\"{prefix}{cid}?filename={link}\" title=\"{cid}\">{short}</a>"
                    );
                }
                None => {
                    let _ = write!(page, "<span class=cid title=\"{cid}\">{short}</span>");
                }
            }
        }
        page.push('\n');
    }
}

const HEAD: &str = "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
    <meta name=viewport content=\"width=device-width, initial-scale=1\">\n<meta name=color-scheme content=\"light dark\">\n";

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0;font:16px/1.5 system-ui,sans-serif;background:light-dark(#fff,#16181d);color:light-dark(#1b1e24,#dfe3ea)}\
main{max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.15rem;overflow-wrap:anywhere}\
p{color:light-dark(#5a6270,#99a2b1);font-size:.9rem;overflow-wrap:anywhere}\
table{width:100%;border-collapse:collapse}\
tr:hover{background:light-dark(#f2f4f8,#20242c)}\
td{padding:.3rem .5rem;border-top:1px solid light-dark(#e4e7ed,#2b303a);overflow-wrap:anywhere}\
td:nth-child(2){text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
td:nth-child(3){text-align:right;white-space:nowrap}\
a{color:light-dark(#0b57d0,#8ab4f8);text-decoration:none}a:hover{text-decoration:underline}\
code,.cid{font:.85rem ui-monospace,monospace}.cid{color:light-dark(#7a8291,#868fa0)}\
@media(max-width:40rem){td:nth-child(3){display:none}}";

/// Text as it stands in HTML, in quotes or not.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Overrides of the direction would make a name look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

fn short(cid: &str) -> String {
    if cid.len() <= 20 { cid.to_owned() } else { format!("{}…{}", &cid[..10], &cid[cid.len() - 6..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, size: Option<u64>, is_folder: bool) -> Entry {
        Entry { name: name.into(), cid: Some("bafkqaaa".to_owned()), size, is_folder }
    }

    #[test]
    fn a_page_of_names_that_try_things() {
        let entries = [
            entry("<script>alert(1)</script>", Some(1536), false),
            entry("javascript:alert(1)", Some(1), false),
            entry("a \"b\" #?%20", None, false),
            entry("gpj.\u{202e}exe", Some(0), false),
            entry("sub", Some(3 << 30), true),
        ];
        let listing = Listing {
            path: "/ipfs/bafy/%3Cb%3E/",
            cid: Some("bafy"),
            has_parent: true,
            cid_prefix: Some("/ipfs/"),
            entries: &entries,
            is_cut: true,
        };
        let page = listing.page();
        assert!(
            !page.contains("<script") && !page.contains("<b>") && !page.contains("href=\"javascript"),
            "{page}"
        );
        assert!(!page.contains('\u{202e}'));
        for part in [
            "<title>/ipfs/bafy/&lt;b&gt;/</title>",
            "./javascript:alert(1)",
            "./a%20%22b%22%20%23%3F%2520\"",
            "./sub/\">sub/</a>",
            "3.0 GiB",
            "title=\"1536 bytes\">1.5 KiB",
            "href=\"..\"",
            "the first 5",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (u64::MAX, "16.0 EiB")] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(short("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"), "bafybeigdy…5fbzdi");
    }
}
