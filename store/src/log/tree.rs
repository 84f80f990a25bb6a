//! The hash tree over the ledger (RFC 6962, section 2.1): leaves are only ever added, and one hash stands for all of them.
//!
//! Pure: hashes in, hashes out. Which lines are leaves is [`super`]'s, who signs the root [`super::checkpoint`]'s.

use sha2::{Digest, Sha256};

/// A hash of the tree.
pub(crate) type Hash = [u8; 32];

/// The hash of a leaf: of what stands there and of the file that it stands in, so that a line cannot change its place.
pub(crate) fn leaf_hash(path: &str, line: &[u8]) -> Hash {
    let hash = Sha256::new().chain_update([0]).chain_update(path).chain_update([b'\n']);
    hash.chain_update(line).finalize().into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// What is needed of a tree to add leaves and to tell its root: one hash for each complete subtree, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// A tree of `size` leaves whose complete subtrees have these hashes; none when the numbers do not fit.
    pub(crate) fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Tree> {
        (peaks.len() == size.count_ones() as usize).then_some(Tree { size, peaks })
    }

    /// Leaves so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of its complete subtrees, the largest first.
    pub(crate) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("each one in the size is a subtree");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root hash; that of the empty tree is the hash of nothing.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Sha256::digest([]).into() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// A whole tree, to make proofs for many of its leaves: each level's hashes, the leaves' first.
#[derive(Debug)]
pub(crate) struct Levels(Vec<Vec<Hash>>);

impl Levels {
    /// The tree of these leaves.
    pub(crate) fn new(leaves: Vec<Hash>) -> Levels {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let (pairs, rest) = below.as_chunks::<2>();
            let mut level: Vec<Hash> = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
            // A node without a sibling passes as it is.
            level.extend_from_slice(rest);
            levels.push(level);
        }
        Levels(levels)
    }

    /// What the leaves hash to; none without leaves.
    pub(crate) fn root(&self) -> Option<Hash> {
        self.0.last()?.first().copied()
    }

    /// The hashes that lead from leaf `index` to the root (RFC 6962, section 2.1.1), lowest first; none when there is no such
    /// leaf.
    pub(crate) fn inclusion_proof(&self, index: usize) -> Option<Vec<Hash>> {
        self.0.first()?.get(index)?;
        let siblings =
            self.0.iter().enumerate().filter_map(|(height, level)| level.get((index >> height) ^ 1));
        Some(siblings.copied().collect())
    }
}

/// The root that leaf `index` of `size` leads to by these hashes; none when their number does not fit.
pub(crate) fn root_by_proof(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut hash, mut node, mut last, mut rest) = (leaf, index, size - 1, proof.iter());
    while last > 0 {
        // A node without a sibling passes as it is.
        if node % 2 == 1 {
            hash = node_hash(rest.next()?, &hash);
        } else if node < last {
            hash = node_hash(&hash, rest.next()?);
        }
        (node, last) = (node / 2, last / 2);
    }
    rest.next().is_none().then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::hex;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash("f", format!("{i}").as_bytes())).collect()
    }

    fn root_of(leaves: &[Hash]) -> Hash {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree.root()
    }

    /// The largest power of two below `len`.
    fn split(len: usize) -> usize {
        1 << (len - 1).ilog2()
    }

    /// The definition of a path in RFC 6962, section 2.1.1, word for word.
    fn path_by_definition(leaves: &[Hash], index: usize) -> Vec<Hash> {
        if leaves.len() < 2 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (inner, index, other) =
            if index < left.len() { (left, index, right) } else { (right, index - left.len(), left) };
        let mut path = path_by_definition(inner, index);
        path.push(by_definition(other));
        path
    }

    /// The definition in RFC 6962, section 2.1, word for word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(split(many.len()));
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition_at_every_size() {
        for count in 0..70 {
            let leaves = leaves(count);
            assert_eq!(root_of(&leaves), by_definition(&leaves), "{count} leaves");
        }
    }

    #[test]
    fn the_empty_tree_and_the_empty_leaf_hash_as_in_the_rfc() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&Tree::default().root()), empty);
        let leaf: Hash = Sha256::digest([0]).into();
        assert_eq!(hex(&leaf), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn every_leaf_leads_to_the_root_and_no_other_leaf_does() {
        for count in 1..40 {
            let (leaves, root) = (leaves(count), root_of(&leaves(count)));
            let levels = Levels::new(leaves.clone());
            assert_eq!((levels.root(), levels.inclusion_proof(count)), (Some(root), None));
            for index in 0..count {
                let proof = levels.inclusion_proof(index).expect("a leaf");
                assert_eq!(proof, path_by_definition(&leaves, index), "{index} of {count}");
                let reached = |leaf, at| root_by_proof(leaf, at, count as u64, &proof);
                assert_eq!(reached(leaves[index], index as u64), Some(root), "{index} of {count}");
                assert_ne!(reached(leaf_hash("f", b"x"), index as u64), Some(root));
                let other = (index + 1) % count;
                assert!(count == 1 || reached(leaves[index], other as u64) != Some(root));
            }
        }
    }

    #[test]
    fn a_tree_goes_on_from_its_peaks() {
        let mut whole = Tree::default();
        for leaf in leaves(100) {
            let mut resumed = Tree::from_peaks(whole.size(), whole.peaks().to_vec()).expect("its own peaks");
            resumed.push(leaf);
            whole.push(leaf);
            assert_eq!(resumed, whole);
        }
        assert_eq!(Tree::from_peaks(3, vec![[0; 32]]), None);
    }
}
