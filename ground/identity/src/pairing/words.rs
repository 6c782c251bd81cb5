//! The words of pairing codes: 512 things that are known to many, written as they are heard, of which no slip of one letter makes another.

/// In the order of the alphabet.
#[rustfmt::skip]
pub(super) const WORDS: [&str; 512] = [
    "acorn", "album", "almond", "amber", "anchor", "angel", "antler", "anvil", "apple", "apricot", "apron",
    "arcade", "arch", "arena", "arrow", "artist", "aspen", "atlas", "attic", "autumn", "avocado", "badger",
    "balcony", "ballad", "balloon", "bamboo", "banana", "banjo", "barrel", "basket", "bazaar", "beacon",
    "beaver", "bedrock", "berry", "bicycle", "bingo", "birch", "biscuit", "bishop", "bison", "blanket",
    "blossom", "blouse", "bonfire", "bonnet", "bottle", "boulder", "bouquet", "bowl", "bracelet", "branch",
    "bread", "breeze", "brick", "bridge", "broccoli", "bronze", "brook", "brush", "bubble", "bucket",
    "buffalo", "bunny", "butter", "button", "cabbage", "cabin", "cactus", "camera", "candy", "canoe",
    "canyon", "captain", "caramel", "caravan", "cargo", "carpet", "castle", "cathedral", "cedar", "cello",
    "cement", "cereal", "chalk", "chapel", "charcoal", "cheese", "cherry", "chess", "chestnut", "chicken",
    "chimney", "chisel", "chocolate", "cinema", "cinnamon", "circus", "clarinet", "clay", "cliff", "cloak",
    "cloud", "clover", "cobalt", "cobra", "coconut", "coffee", "comet", "compass", "concert", "copper",
    "corner", "cottage", "cotton", "cougar", "cousin", "coyote", "cradle", "crater", "crayon", "cricket",
    "crocus", "crown", "crystal", "cuckoo", "cucumber", "cupboard", "curtain", "cushion", "cymbal", "cypress",
    "daisy", "dancer", "dawn", "deer", "delta", "denim", "desert", "diamond", "diary", "dinner", "doctor",
    "dolphin", "domino", "donkey", "dragon", "drawer", "driver", "drum", "dune", "dustpan", "eagle", "earth",
    "easel", "echo", "eclipse", "elbow", "elephant", "emerald", "engine", "envelope", "evening", "fabric",
    "falcon", "farmer", "feather", "fence", "ferret", "festival", "fiddle", "field", "flagpole", "flamingo",
    "flannel", "flint", "flute", "foghorn", "forest", "fork", "fossil", "fountain", "freckle", "friend",
    "frog", "fudge", "funnel", "galaxy", "gallery", "garage", "garden", "garlic", "gazelle", "geyser",
    "ginger", "giraffe", "glacier", "glider", "globe", "goblet", "goggles", "gondola", "gorilla", "granite",
    "grape", "grass", "gravel", "grocer", "guitar", "gull", "hammock", "hamster", "harp", "hawk", "hazel",
    "hedgehog", "helmet", "herring", "hickory", "honey", "horse", "hummus", "iceberg", "igloo", "iguana",
    "indigo", "inkwell", "insect", "island", "ivory", "jaguar", "jasmine", "jelly", "jersey", "jester",
    "jigsaw", "jockey", "journal", "jungle", "juniper", "kangaroo", "kayak", "kebab", "kettle", "keyboard",
    "kimono", "kitchen", "kitten", "kiwi", "koala", "ladder", "lagoon", "lake", "lantern", "laundry", "lava",
    "lavender", "lemon", "lentil", "leopard", "lettuce", "library", "lilac", "lily", "linen", "lizard",
    "llama", "lobster", "locust", "lotus", "lunch", "lynx", "lyric", "magnet", "magpie", "mammoth",
    "mandolin", "mango", "marble", "margin", "marmot", "meadow", "medal", "melody", "melon", "mermaid",
    "meteor", "midnight", "mineral", "mint", "mirror", "moose", "morning", "mosaic", "moss", "muffin",
    "mulberry", "museum", "mushroom", "mustard", "napkin", "narwhal", "necklace", "nectar", "needle", "nest",
    "nickel", "night", "noodle", "north", "nugget", "nutmeg", "nylon", "oasis", "oatmeal", "oboe", "ocean",
    "octopus", "olive", "omelet", "onion", "opal", "opera", "orange", "orbit", "orchard", "orchid", "oregano",
    "organ", "ostrich", "otter", "oven", "paddle", "painter", "palace", "pancake", "panda", "panther",
    "papaya", "paper", "parsley", "pasture", "patio", "peach", "peacock", "peanut", "pearl", "pebble",
    "pelican", "pencil", "penguin", "piano", "pickle", "picnic", "pigeon", "pillow", "pilot", "pirate",
    "pizza", "planet", "plateau", "platinum", "plum", "poem", "pony", "poppy", "portrait", "possum", "potato",
    "powder", "prairie", "pretzel", "pumpkin", "puppet", "puzzle", "pyramid", "quartz", "queen", "quilt",
    "quiver", "rabbit", "raccoon", "radar", "radish", "raft", "railway", "rainbow", "raisin", "raven",
    "ribbon", "rice", "robin", "robot", "rooster", "rowboat", "ruby", "rudder", "sailor", "salad", "salmon",
    "sandal", "sapphire", "satchel", "saturn", "sauce", "saxophone", "scarf", "school", "scooter", "season",
    "seaweed", "shadow", "sheep", "shelf", "sherbet", "shovel", "siren", "skillet", "sleigh", "slipper",
    "snail", "snow", "soccer", "sofa", "soup", "spider", "spinach", "sponge", "spoon", "spruce", "squid",
    "squirrel", "stable", "stadium", "stamp", "station", "statue", "stove", "straw", "summer", "sunset",
    "swan", "sweater", "syrup", "tadpole", "teacher", "teapot", "temple", "tennis", "thimble", "thistle",
    "thunder", "tiger", "timber", "toast", "tomato", "topaz", "tortoise", "toucan", "towel", "tractor",
    "treasure", "trombone", "trout", "trumpet", "tulip", "tundra", "turban", "turkey", "turnip", "turtle",
    "tuxedo", "twilight", "ukulele", "umbrella", "uncle", "unicorn", "urchin", "valley", "vanilla", "velvet",
    "veranda", "village", "vinegar", "violin", "viper", "volcano", "voyage", "vulture", "waffle", "wagon",
    "waiter", "walnut", "walrus", "waltz", "wasabi", "whale", "wheat", "widget", "window", "wolf", "wombat",
    "wool", "yacht", "yodel", "yogurt", "yoyo", "zebra", "zeppelin", "zigzag", "zither", "zucchini",
];

/// The place of a word.
pub(super) fn place(word: &str) -> Option<usize> {
    WORDS.binary_search(&word).ok()
}

/// The word that was meant, if it is one or two slips away.
pub(super) fn nearest(word: &str) -> Option<&'static str> {
    let slips = |other: &str| slips(word.as_bytes(), other.as_bytes());
    WORDS.into_iter().min_by_key(|other| slips(other)).filter(|other| slips(other) <= 2)
}

/// How many letters must be put in, left out or changed to make `b` of `a`.
fn slips(a: &[u8], b: &[u8]) -> usize {
    // Of the letters of `a` so far and the first `n` of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (done, letter) in a.iter().enumerate() {
        let mut above_left = done;
        let mut left = done + 1;
        for (other, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let changed = above_left + usize::from(letter != other);
            above_left = *cell;
            left = changed.min(above_left + 1).min(left + 1);
            *cell = left;
        }
        row[0] = done + 1;
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_slip_makes_another_word() {
        for (at, word) in WORDS.iter().enumerate() {
            assert!(word.bytes().all(|letter| letter.is_ascii_lowercase()), "{word}");
            assert!((4..=9).contains(&word.len()), "{word}");
            assert_eq!(place(word), Some(at), "{word} stands where it belongs");
            for other in &WORDS[at + 1..] {
                assert!(slips(word.as_bytes(), other.as_bytes()) > 1, "{word} and {other}");
            }
        }
    }

    #[test]
    fn a_slip_is_told() {
        assert_eq!(slips(b"otter", b"violin"), 6);
        assert_eq!((slips(b"", b"abc"), slips(b"abc", b""), slips(b"kitten", b"sitting")), (3, 3, 3));
        assert_eq!(nearest("oter"), Some("otter"));
        assert_eq!(nearest("vioiln"), Some("violin"));
        assert_eq!(nearest("xylophone"), None);
    }
}
