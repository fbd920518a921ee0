//! Progressive pictures at an eighth: only the scans of DC coefficients count. The first gives their upper bits, each later one
//! a bit more; the scans of other coefficients are jumped over.

use super::{
    Error, Plane, Scale,
    bits::Bits,
    header::Header,
    huffman::DcTable,
    idct,
    interval::Intervals,
    scan::{BlockDecoder, Outcome, Scan},
    tables::Tables,
};

/// The DC coefficients of all components.
pub(super) struct Canvas {
    components: Vec<Coefficients>,
}

/// The DC coefficients of one component.
struct Coefficients {
    /// Blocks in a row, with those that fill up MCUs.
    columns: usize,
    values: Vec<i16>,
    /// How it is quantised, known since its first scan.
    factor: Option<u16>,
    /// The lower bits that no scan has given yet; None before the first scan.
    missing_bits: Option<u8>,
}

impl Canvas {
    pub(super) fn new(header: &Header) -> Self {
        let (columns, rows) = header.mcus();
        let components = header.components.iter().map(|component| {
            let (columns, rows) = (columns * component.horizontal(), rows * component.vertical());
            Coefficients { columns, values: vec![0; columns * rows], factor: None, missing_bits: None }
        });
        Canvas { components: components.collect() }
    }

    /// Decodes a scan of DC coefficients; leaves `intervals` untouched at another.
    ///
    /// # Errors
    ///
    /// A table is missing, [`Error::GivenUp`], or [`Error::Corrupt`] if the scan is no step of a progression.
    pub(super) fn decode(
        &mut self,
        scan: &Scan,
        header: &Header,
        tables: &Tables,
        intervals: &mut Intervals<'_>,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Outcome, Error> {
        if scan.spectral_start > 0 {
            return Ok(Outcome::Whole);
        }
        if scan.spectral_end > 0 || scan.approximation_low > 13 {
            return Err(Error::Corrupt("a scan that is no step of a progression"));
        }
        let interval = tables.restart_interval;
        let outcome = if scan.approximation_high == 0 {
            self.quantise(scan, header, tables)?;
            let mut first = First::new(scan, tables, &mut self.components)?;
            scan.decode(&mut first, header, interval, intervals, give_up)?
        } else {
            let mut refinement = Refinement::new(scan, &mut self.components);
            scan.decode(&mut refinement, header, interval, intervals, give_up)?
        };
        for member in &scan.members {
            self.components[member.component].missing_bits = Some(scan.approximation_low);
        }
        Ok(outcome)
    }

    /// Notes the quantisation as of a component's first scan: its table may be replaced later.
    fn quantise(&mut self, scan: &Scan, header: &Header, tables: &Tables) -> Result<(), Error> {
        for member in &scan.members {
            let factors = tables.factors(header.components[member.component].quantisation)?;
            self.components[member.component].factor = Some(factors[0]);
        }
        Ok(())
    }

    /// Whether every bit of every component is known.
    pub(super) fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.missing_bits == Some(0))
    }

    pub(super) fn into_planes(self, header: &Header) -> Vec<Plane> {
        let components = header.components.iter().zip(self.components);
        let planes = components.map(|(component, coefficients)| {
            let mut plane = Plane::new(header, component, Scale::Eighth);
            let factor = coefficients.factor.unwrap_or_default().into();
            for (sample, dc) in plane.samples.iter_mut().zip(coefficients.values) {
                *sample = idct::eighth(dc, factor);
            }
            plane
        });
        planes.collect()
    }
}

/// The first scan of some components.
struct First<'a> {
    components: &'a mut [Coefficients],
    members: Vec<Member<'a>>,
    low: u8,
}

struct Member<'a> {
    component: usize,
    /// The coefficient of its last block, without the lower bits.
    prediction: i32,
    table: &'a DcTable,
}

impl<'a> First<'a> {
    fn new(scan: &Scan, tables: &'a Tables, components: &'a mut [Coefficients]) -> Result<Self, Error> {
        let members = scan.members.iter().map(|member| {
            Ok(Member { component: member.component, prediction: 0, table: tables.dc(member.dc)?.table() })
        });
        Ok(First { components, members: members.collect::<Result<_, Error>>()?, low: scan.approximation_low })
    }
}

impl BlockDecoder for First<'_> {
    fn restart(&mut self) {
        self.members.iter_mut().for_each(|member| member.prediction = 0);
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, member: usize, column: usize, row: usize) {
        let member = &mut self.members[member];
        bits.refill();
        member.prediction = member.prediction.wrapping_add(member.table.difference(bits));
        self.components[member.component].put(column, row, (member.prediction << self.low) as i16);
    }

    fn erase(&mut self, member: usize, column: usize, row: usize) {
        self.components[self.members[member].component].put(column, row, 0);
    }
}

/// A later scan: one bit of each block.
struct Refinement<'a> {
    components: &'a mut [Coefficients],
    /// The component of each member.
    members: Vec<usize>,
    bit: i16,
}

impl<'a> Refinement<'a> {
    fn new(scan: &Scan, components: &'a mut [Coefficients]) -> Self {
        let members = scan.members.iter().map(|member| member.component).collect();
        Refinement { components, members, bit: 1 << scan.approximation_low }
    }
}

impl BlockDecoder for Refinement<'_> {
    fn restart(&mut self) {}

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, member: usize, column: usize, row: usize) {
        bits.refill();
        if bits.peek::<1>() == 1 {
            self.components[self.members[member]].set(column, row, self.bit);
        }
        bits.consume(1);
    }

    /// Zeros were read, which changed nothing.
    fn erase(&mut self, _member: usize, _column: usize, _row: usize) {}
}

impl Coefficients {
    #[inline(always)]
    fn put(&mut self, column: usize, row: usize, value: i16) {
        if let Some(coefficient) = self.values.get_mut(row * self.columns + column) {
            *coefficient = value;
        }
    }

    #[inline(always)]
    fn set(&mut self, column: usize, row: usize, bit: i16) {
        if let Some(coefficient) = self.values.get_mut(row * self.columns + column) {
            *coefficient |= bit;
        }
    }
}
