//! The file `_redirects` of a website: where to go from paths that do not exist.

use hyper::StatusCode;
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use url::form_urlencoded;

use crate::Refusal;
use crate::ask::IN_PATH;

/// The longest file that is read, bytes.
pub const REDIRECTS_MAX: usize = 64 << 10;

/// The rules of a website, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirects(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    from: Vec<Pattern>,
    to: String,
    status: StatusCode,
}

/// What one name of a path is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Is(String),
    Named(String),
    /// It and all that follow: only at the end.
    Rest,
}

/// What a rule says to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Lead the browser there.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// A path, or an address elsewhere.
        location: String,
    },
    /// Answer with another file of this website.
    Rewrite {
        /// 200, 404, 410 or 451.
        status: StatusCode,
        /// Its path, decoded.
        path: String,
    },
}

impl Redirects {
    /// Reads the file.
    ///
    /// # Errors
    /// 500, with what is wrong in which line: the site's author has to know.
    pub fn parse(file: &[u8]) -> Result<Self, Refusal> {
        if file.len() > REDIRECTS_MAX {
            return Err(broken(format!("is longer than {REDIRECTS_MAX} bytes")));
        }
        let text = std::str::from_utf8(file).map_err(|_| broken("is not UTF-8"))?;
        let lines = text.lines().map(str::trim).enumerate();
        let rules = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let rule = |(at, line): (usize, &str)| {
            Rule::parse(line).map_err(|wrong| broken(format!("line {}: {wrong}", at + 1)))
        };
        rules.map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// What the first rule says that matches a path, decoded, with its query.
    pub fn follow(&self, path: &str, query: Option<&str>) -> Option<Followed> {
        self.0.iter().find_map(|rule| rule.follow(path, query))
    }
}

fn broken(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the file _redirects of this site {what}"))
}

impl Rule {
    fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace();
        let from = words.next().unwrap_or_default();
        let to = words.next().ok_or("a rule is FROM TO [STATUS]")?.to_owned();
        let status = words.next().map_or(Ok(StatusCode::MOVED_PERMANENTLY), status_of)?;
        if words.next().is_some() {
            return Err("a rule is FROM TO [STATUS]".to_owned());
        }
        let is_elsewhere = to.starts_with("http://") || to.starts_with("https://");
        let is_path = to.starts_with('/') && !to.starts_with("//");
        if !(is_path || is_elsewhere && status.is_redirection()) {
            return Err(format!("{to:?} is neither a path nor, for a redirect, an address"));
        }
        Ok(Self { from: patterns(from)?, to, status })
    }

    fn follow(&self, path: &str, query: Option<&str>) -> Option<Followed> {
        let found = self.matched(path)?;
        if !self.status.is_redirection() {
            let path = self.to.split(['?', '#']).next().unwrap_or_default();
            let path = percent_decode_str(path).decode_utf8_lossy();
            return Some(Followed::Rewrite {
                status: self.status,
                path: filled(&path, &found, |value| value.to_owned()),
            });
        }
        let encoded = |value: &str| utf8_percent_encode(value, IN_PATH).to_string();
        let (to, fragment) = self.to.split_once('#').map_or((&*self.to, None), |(to, rest)| (to, Some(rest)));
        let (to, own) = to.split_once('?').map_or((to, None), |(to, own)| (to, Some(own)));
        let mut location = filled(to, &found, encoded);
        // In a query, a value must not end its parameter.
        let in_query = |value: &str| form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let query = merged(own.map(|own| filled(own, &found, in_query)).as_deref(), query);
        if !query.is_empty() {
            location.push('?');
            location.push_str(&query);
        }
        if let Some(fragment) = fragment {
            location.push('#');
            location.push_str(fragment);
        }
        Some(Followed::Redirect { status: self.status, location })
    }

    /// The values of the placeholders, if the path is one of this rule's.
    fn matched<'a>(&self, path: &'a str) -> Option<Vec<(&str, &'a str)>> {
        let mut found = Vec::new();
        let mut rest = Some(path.trim_start_matches('/'));
        for pattern in &self.from {
            let (name, behind) = match (rest, pattern) {
                (rest, Pattern::Rest) => {
                    found.push(("splat", rest.unwrap_or_default()));
                    return Some(found);
                }
                (None, _) => return None,
                (Some(rest), _) => {
                    rest.split_once('/').map_or((rest, None), |(name, rest)| (name, Some(rest)))
                }
            };
            match pattern {
                Pattern::Is(wanted) if wanted == name => {}
                Pattern::Named(placeholder) if !name.is_empty() => found.push((placeholder, name)),
                _ => return None,
            }
            rest = behind;
        }
        // A slash at the end makes no other path.
        rest.is_none_or(str::is_empty).then_some(found)
    }
}

fn patterns(from: &str) -> Result<Vec<Pattern>, String> {
    let path = from.strip_prefix('/').ok_or_else(|| format!("{from:?} does not begin with a slash"))?;
    let mut patterns = Vec::new();
    // A slash at the end makes no other path.
    let mut names = path.strip_suffix('/').unwrap_or(path).split('/').peekable();
    while let Some(name) = names.next() {
        let pattern = match name.strip_prefix(':') {
            Some("") => return Err(format!("{from:?} has a placeholder without a name")),
            Some(name) => Pattern::Named(name.to_owned()),
            None if name == "*" && names.peek().is_none() => Pattern::Rest,
            None if name.contains('*') => return Err(format!("{from:?}: * stands alone, at the end")),
            None => Pattern::Is(percent_decode_str(name).decode_utf8_lossy().into_owned()),
        };
        if matches!(pattern, Pattern::Named(_)) && patterns.contains(&pattern) {
            return Err(format!("{from:?} names a placeholder twice"));
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}

fn status_of(word: &str) -> Result<StatusCode, String> {
    let known = ["200", "301", "302", "303", "307", "308", "404", "410", "451"];
    let status = known.contains(&word).then(|| StatusCode::from_bytes(word.as_bytes()).ok());
    status.flatten().ok_or_else(|| format!("{word:?} is no status: there are {}", known.join(", ")))
}

/// `:name` replaced by what was found for it; what was not found stays.
fn filled(template: &str, found: &[(&str, &str)], written: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once(':') {
        out.push_str(before);
        let is_part = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-');
        let end = behind.find(|char| !is_part(char)).unwrap_or(behind.len());
        match found.iter().find(|(name, _)| *name == &behind[..end]) {
            Some((_, value)) => out.push_str(&written(value)),
            None => {
                out.push(':');
                out.push_str(&behind[..end]);
            }
        }
        rest = &behind[end..];
    }
    out + rest
}

/// The parameters of a rule and those of whoever asks, which count first.
fn merged(own: Option<&str>, asked: Option<&str>) -> String {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let pairs = |query: Option<&str>| {
        query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let asked = pairs(asked);
    let mut all = pairs(own);
    all.retain(|pair| !asked.iter().any(|other| name(other) == name(pair)));
    all.extend(asked);
    all.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const SITE: &str = "\
/redirect-one /one.html
/301-redirect-one /one.html 301
/302-redirect-two /two.html 302
/200-index /index.html 200
/posts/:year/:month/:day/:title /articles/:year/:month/:day/:title 301
/splat/* /redirected-splat/:splat 301
/not-found/* /404.html 404
/gone/* /410.html 410
/unavail/* /451.html 451
/* /index.html 200
";

    fn go(site: &str, path: &str) -> (u16, String) {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        match Redirects::parse(site.as_bytes()).unwrap().follow(path, query) {
            Some(Followed::Redirect { status, location }) => (status.as_u16(), location),
            Some(Followed::Rewrite { status, path }) => (status.as_u16(), path),
            None => (0, String::new()),
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        for (path, status, to) in [
            ("/redirect-one", 301, "/one.html"),
            ("/redirect-one/", 301, "/one.html"),
            ("/302-redirect-two", 302, "/two.html"),
            ("/200-index", 200, "/index.html"),
            ("/posts/2022/02/08/hi there", 301, "/articles/2022/02/08/hi%20there"),
            ("/posts/2022/02/08", 200, "/index.html"),
            ("/splat/one/two.html", 301, "/redirected-splat/one/two.html"),
            ("/not-found/has-no-page", 404, "/404.html"),
            ("/gone/x", 410, "/410.html"),
            ("/unavail/x", 451, "/451.html"),
            ("/anything/else", 200, "/index.html"),
            ("/", 200, "/index.html"),
        ] {
            assert_eq!(go(SITE, path), (status, to.to_owned()), "{path}");
        }
        assert_eq!(go("/a /b", "/b"), (0, String::new()));
        assert_eq!(go("/a/b /b", "/a"), (0, String::new()));
    }

    #[test]
    fn queries_are_kept_and_count_first() {
        let site = "/source1/* /target-file?static-query1=static-val1&static-query2=static-val2 301
            /source2/:code/:name /target-file?code=:code&name=:name 301
            /source3/* https://example.net/target3/:splat#part 301";
        assert_eq!(
            go(site, "/source1/x?static-query1=mine&a=b").1,
            "/target-file?static-query2=static-val2&static-query1=mine&a=b"
        );
        assert_eq!(go(site, "/source2/1&x/n=m").1, "/target-file?code=1%26x&name=n%3Dm");
        assert_eq!(go(site, "/source3/a/b?q=1").1, "https://example.net/target3/a/b?q=1#part");
    }

    #[test]
    fn comments_blank_lines_and_both_line_ends_are_fine() {
        assert_eq!(go("# a comment\r\n\r\n \t/a   /b\t302 \r\n", "/a"), (302, "/b".to_owned()));
        assert_eq!(go("", "/a"), (0, String::new()));
    }

    #[test]
    fn a_broken_file_is_told_with_its_line() {
        for (site, wrong) in [
            ("/a", "line 1"),
            ("/ok /b\na /b", "line 2"),
            ("/a /b 999", "999"),
            ("/a /b 302 more", "FROM TO"),
            ("/:a/:a /b", "twice"),
            ("/a/*/b /c", "*"),
            ("/a* /c", "*"),
            ("/: /b", "without a name"),
            ("/a //evil.example", "neither"),
            ("/a javascript:alert(1)", "neither"),
            ("/a https://example.net/ 200", "neither"),
        ] {
            let refusal = Redirects::parse(site.as_bytes()).unwrap_err();
            assert_eq!(refusal.status, 500, "{site}");
            assert!(refusal.message.contains(wrong), "{site}: {}", refusal.message);
        }
        assert!(Redirects::parse(b"/a /\xff").is_err());
        assert!(Redirects::parse(&vec![b' '; REDIRECTS_MAX + 1]).is_err());
    }
}
