// The vector register file: four banks of 256-bit words, three read ports and a write port each.
//
// Word w lies in bank (w + w / 16) mod 4, so that neighbouring groups begin in different banks. A read is answered in its
// cycle if its port of that bank is free: port 0 serves vs3, vs2 and the offsets of indexed accesses, port 1 vs4, vs1 and
// the slide unit, port 2 the old vd and the data of stores, in this order. Writes of the load/store unit come first, then those of
// the arithmetic, then the slide unit's; the arithmetic's come before all if many of its results wait. The mask, register 0, is
// wired out.
module vector_registers
  import vector_unit_pkg::*;
#(
  localparam int unsigned Readers = 8,
  localparam int unsigned Writers = 3
) (
  input  logic clk_i,

  // vs3, vs2, offsets; vs4, vs1, slide unit; vd, data of stores.
  input  logic  [Readers-1:0] read_i,
  input  word_t [Readers-1:0] word_i,
  output logic  [Readers-1:0] granted_o,
  output data_t [Readers-1:0] data_o,

  // Load/store unit, arithmetic, slide unit.
  input  vrf_write_t [Writers-1:0] write_i,
  output logic       [Writers-1:0] written_o,
  input  logic                     arithmetic_first_i,

  output logic [VlenBits-1:0] mask_o
);

  localparam int unsigned Rows = Words / Banks;
  localparam int unsigned PortOf[Readers] = '{0, 0, 0, 1, 1, 1, 2, 2};

  data_t memory_q[Words];

  // A reader is granted unless one before it wants the same port of the same bank.
  for (genvar reader = 0; reader < Readers; reader++) begin : gen_read
    logic [Readers-1:0] ahead;
    for (genvar other = 0; other < Readers; other++) begin : gen_before
      if (other < reader && PortOf[other] == PortOf[reader]) begin : gen_rival
        assign ahead[other] = read_i[other] && bank_of(word_i[other]) == bank_of(word_i[reader]);
      end else begin : gen_none
        assign ahead[other] = 1'b0;
      end
    end
    assign granted_o[reader] = read_i[reader] & ~(|ahead);
    assign data_o[reader]    = memory_q[word_i[reader]];
  end

  for (genvar writer = 0; writer < Writers; writer++) begin : gen_written
    logic [Writers-1:0] ahead;
    for (genvar other = 0; other < Writers; other++) begin : gen_before
      localparam bit Exchanges = (other == 0 && writer == 1) || (other == 1 && writer == 0);
      assign ahead[other] = ((other < writer) ^ (Exchanges & arithmetic_first_i)) && write_i[other].valid &&
                             bank_of(write_i[other].word) == bank_of(write_i[writer].word);
    end
    assign written_o[writer] = write_i[writer].valid & ~(|ahead);
  end

  always_ff @(posedge clk_i) begin
    for (int writer = 0; writer < int'(Writers); writer++) begin
      for (int b = 0; b < int'(WordBytes); b++) begin
        if (written_o[writer] && write_i[writer].strobe[b]) begin
          memory_q[write_i[writer].word][8*b+:8] <= write_i[writer].data[8*b+:8];
        end
      end
    end
  end

  for (genvar word = 0; word < WordsPerRegister; word++) begin : gen_mask
    assign mask_o[WordBits*word+:WordBits] = memory_q[word];
  end

  // Who writes is of no account here.
  logic unused;
  assign unused = ^{write_i[0].id, write_i[1].id, write_i[2].id, Rows[0]};

endmodule
