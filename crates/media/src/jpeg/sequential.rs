//! Sequential scans, baseline and extended: each block comes whole, and becomes samples at once.

use super::{
    Error, Plane, Scale, Scales,
    bits::Bits,
    header::Header,
    huffman::{DcTable, LowFrequencies, SkipTable, ValueTable},
    idct::{self, LowFactors},
    interval::Intervals,
    scan::{self, BlockDecoder, Outcome, Scan},
    tables::Tables,
};

/// The last coefficients, in zigzag order, that lie among the lowest 2 x 2 and 4 x 4.
const QUARTER_LAST: u32 = 4;
const HALF_LAST: u32 = 24;

/// The planes of a sequential picture.
pub(super) struct Canvas {
    planes: Vec<Plane>,
    scales: Vec<Scale>,
    /// Which components a scan has carried.
    decoded: Vec<bool>,
}

impl Canvas {
    pub(super) fn new(header: &Header, scales: Scales) -> Self {
        let mut each = vec![scales.chroma; header.components.len()];
        each[0] = scales.luma;
        let planes =
            header.components.iter().zip(&each).map(|(component, &scale)| Plane::new(header, component, scale));
        Canvas { planes: planes.collect(), decoded: vec![false; each.len()], scales: each }
    }

    /// # Errors
    ///
    /// A table is missing, or [`Error::GivenUp`].
    pub(super) fn decode(
        &mut self,
        scan: &Scan,
        header: &Header,
        tables: &Tables,
        intervals: &mut Intervals<'_>,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Outcome, Error> {
        let members = scan.members.iter().map(|member| Member::new(member, header, tables, &self.scales));
        let members = members.collect::<Result<_, _>>()?;
        let mut blocks = Blocks { members, planes: &mut self.planes };
        let outcome = scan.decode(&mut blocks, header, tables.restart_interval, intervals, give_up)?;
        scan.members.iter().for_each(|member| self.decoded[member.component] = true);
        Ok(outcome)
    }

    /// Whether every component was in a scan.
    pub(super) fn is_complete(&self) -> bool {
        self.decoded.iter().all(|&decoded| decoded)
    }

    pub(super) fn into_planes(self) -> Vec<Plane> {
        self.planes
    }
}

/// Decodes the blocks of one scan.
struct Blocks<'a> {
    members: Vec<Member<'a>>,
    planes: &'a mut [Plane],
}

/// A component of the scan.
struct Member<'a> {
    component: usize,
    /// The DC coefficient of its last block.
    prediction: i32,
    dc: &'a DcTable,
    skips: &'a SkipTable,
    dc_factor: i32,
    transform: Transform<'a>,
}

/// How a block becomes samples, and what that needs.
enum Transform<'a> {
    Eighth,
    Quarter(&'a ValueTable, LowFactors),
    Half(&'a ValueTable, LowFactors),
}

impl<'a> Member<'a> {
    fn new(member: &scan::Member, header: &Header, tables: &'a Tables, scales: &[Scale]) -> Result<Self, Error> {
        let factors = tables.factors(header.components[member.component].quantisation)?;
        let ac = tables.ac(member.ac)?;
        let transform = match scales[member.component] {
            Scale::Eighth => Transform::Eighth,
            Scale::Quarter => Transform::Quarter(ac.values(), idct::low_factors(factors)),
            Scale::Half => Transform::Half(ac.values(), idct::low_factors(factors)),
        };
        Ok(Member {
            component: member.component,
            prediction: 0,
            dc: tables.dc(member.dc)?.table(),
            skips: ac.skips(),
            dc_factor: factors[0].into(),
            transform,
        })
    }
}

impl BlockDecoder for Blocks<'_> {
    fn restart(&mut self) {
        self.members.iter_mut().for_each(|member| member.prediction = 0);
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, member: usize, column: usize, row: usize) {
        let member = &mut self.members[member];
        let plane = &mut self.planes[member.component];
        bits.refill();
        member.prediction = member.prediction.wrapping_add(member.dc.difference(bits));
        let dc = member.prediction as i16;
        let mean = idct::eighth(dc, member.dc_factor);
        match &member.transform {
            Transform::Eighth => {
                member.skips.skip(bits, 1);
                plane.put(column, row, [[mean]]);
            }
            Transform::Quarter(values, factors) => {
                let mut block = LowFrequencies::default();
                let flat = !values.read::<QUARTER_LAST>(bits, member.skips, &mut block);
                block[0] = dc;
                plane.put(column, row, if flat { [[mean; 2]; 2] } else { idct::quarter(&block, factors) });
            }
            Transform::Half(values, factors) => {
                let mut block = LowFrequencies::default();
                let flat = !values.read::<HALF_LAST>(bits, member.skips, &mut block);
                block[0] = dc;
                plane.put(column, row, if flat { [[mean; 4]; 4] } else { idct::half(&block, factors) });
            }
        }
    }

    fn erase(&mut self, member: usize, column: usize, row: usize) {
        let member = &self.members[member];
        let plane = &mut self.planes[member.component];
        match member.transform {
            Transform::Eighth => plane.put(column, row, [[128]]),
            Transform::Quarter(..) => plane.put(column, row, [[128; 2]; 2]),
            Transform::Half(..) => plane.put(column, row, [[128; 4]; 4]),
        }
    }
}
