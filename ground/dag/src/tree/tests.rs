use super::*;
use crate::directory::symlink;
use crate::testing::Blocks;

#[test]
fn folders_are_built_from_the_inside_out() {
    let profile = Profile::default();
    let mut blocks = Blocks::default();
    let file = blocks.file(&profile, b"hello");
    let mut tree = Tree::new();
    tree.add(["b", "c", "file"], &file).unwrap();
    tree.add(["a"], &file).unwrap();
    tree.add_folder(["b", "empty"], Metadata::NONE).unwrap();
    let link = symlink(&profile, b"../a", &Metadata::NONE, &mut |cid, block| blocks.put(cid, block));
    tree.add(["b", "link"], &link).unwrap();
    let mut order = Vec::new();
    let root = tree.build(&profile, &mut |cid, _| order.push(cid)).unwrap();
    assert_eq!(order.len(), 4); // b/c, b/empty, b and the whole
    assert_eq!(order.last(), Some(&root.cid));
}

/// The specification's example of nested directories.
#[test]
fn a_nested_folder_is_that_of_the_specification() {
    let profile = Profile::default();
    let mut blocks = Blocks::default();
    let mut tree = Tree::new();
    tree.add(["subdir", "hello.txt"], &blocks.file(&profile, b"hello world\n")).unwrap();
    tree.add(["subdir", "ascii.txt"], &blocks.file(&profile, b"hello application/vnd.ipld.car\n")).unwrap();
    let built = tree.build(&profile, &mut |_, _| {}).unwrap();
    assert_eq!(built.cid.to_string(), "bafybeietjm63oynimmv5yyqay33nui4y4wx6u3peezwetxgiwvfmelutzu");
}

#[test]
fn paths_that_make_no_tree_are_refused() {
    let file = Blocks::default().file(&Profile::default(), b"");
    let mut tree = Tree::new();
    assert!(matches!(tree.add([""; 0], &file), Err(BuildError::Name(_))));
    assert!(matches!(tree.add(["..", "x"], &file), Err(BuildError::Name(_))));
    assert!(matches!(tree.add(["x", "a/b"], &file), Err(BuildError::Name(_))));
    assert_eq!(tree.add(vec!["x"; DEPTH_MAX + 2], &file), Err(BuildError::TooDeep(DEPTH_MAX)));

    let mut tree = Tree::new();
    tree.add(["x"], &file).unwrap();
    tree.add(["x", "y"], &file).unwrap();
    let refused = tree.build(&Profile::default(), &mut |_, _| {});
    assert_eq!(refused, Err(BuildError::Duplicate("x".to_owned())));
}
