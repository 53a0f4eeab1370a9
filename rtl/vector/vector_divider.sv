// Quotients, remainders and square roots of integers and floats: one element after the other, a few digits a cycle, so
// many that an element takes Cycles. Digits of quotients and of roots come from the same subtractions: a step keeps
// what is left of the partial remainder and the bits of the dividend that follow, less the divisor, or less four times
// the root so far plus one.
//
// A word of n elements, of which a request may want the first alone, is taken every n * Cycles cycles. The result of one taken in cycle t appears in cycle
// t + n * Cycles - 1 + IntegerLatency or FloatLatency, at the port of its kind; neither can be below 2.
module vector_divider
  import fp_pkg::*;
  import potluck_vector_pkg::*;
  import vector_pkg::*;
  import vector_divide_pkg::*;
#(
  parameter int unsigned Cycles         = 8,
  parameter int unsigned IntegerLatency = 2,
  parameter int unsigned FloatLatency   = 3,
  parameter int unsigned TagWidth       = 1
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  output logic                     ready_o,
  input  vector_request_t          request_i,
  input  logic                     single_i,
  input  logic [TagWidth-1:0]      tag_i,
  output logic [1:0]               valid_o,  // floats at port 0, integers at port 1
  input  logic [1:0]               ready_i,
  output vector_result_t [1:0]     result_o,
  output logic [1:0][TagWidth-1:0] tag_o
);

  localparam int unsigned Steps = (64 + Cycles - 1) / Cycles;  // digits in a cycle
  localparam int unsigned CountWidth = $clog2(Cycles + 1);

  // The word, and the element that is worked on -----------------------------------------------------------------------
  vector_request_t request_q;
  logic single_q;
  logic [TagWidth-1:0] tag_q;
  logic [2:0] index_q, next_index;
  logic [CountWidth-1:0] left_q;  // cycles to go
  start_t start_q, start_d;
  logic taken, go, ends, last;

  logic [1:0] width;
  assign width = width_of(request_q.sew, request_q.op.d_scale);
  assign last  = single_q || index_q == 3'((4'd8 >> width) - 4'd1);
  assign ends  = left_q == CountWidth'(1);
  assign taken = valid_i & ready_o;
  // The next word may come while the last digits of this one do.
  assign ready_o = go & (left_q == '0 || (ends && last));

  assign next_index = taken ? 3'd0 : index_q + 3'd1;
  vector_divide_element u_element (
    .request_i(taken ? request_i : request_q),
    .index_i(next_index),
    .start_o(start_d)
  );

  logic [63:0] stream_q, stream_d, quotient_q, quotient_d;
  logic [65:0] partial_q, partial_d;
  logic [6:0] bits_q, bits_d;

  always_comb begin
    logic [65:0] grown, taken_off;
    stream_d   = stream_q;
    quotient_d = quotient_q;
    partial_d  = partial_q;
    bits_d     = bits_q;
    grown      = '0;
    taken_off  = '0;
    for (int unsigned step = 0; step < Steps; step++) begin
      if (bits_d != '0) begin
        grown      = start_q.root ? {partial_d[63:0], stream_d[63:62]} : {partial_d[64:0], stream_d[63]};
        taken_off  = start_q.root ? {quotient_d, 2'b01} : {2'b0, start_q.divisor};
        stream_d   = start_q.root ? stream_d << 2 : stream_d << 1;
        partial_d  = (grown >= taken_off) ? grown - taken_off : grown;
        quotient_d = {quotient_d[62:0], grown >= taken_off};
        bits_d     = bits_d - 7'd1;
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) left_q <= '0;
    else if (go && (taken || (ends && !last))) left_q <= CountWidth'(Cycles);
    else if (go && left_q != '0) left_q <= left_q - CountWidth'(1);
  end

  always_ff @(posedge clk_i) begin
    if (taken) begin
      request_q <= request_i;
      single_q  <= single_i;
      tag_q     <= tag_i;
    end
    if (go && (taken || ends)) begin
      index_q    <= next_index;
      start_q    <= start_d;
      stream_q   <= start_d.stream;
      partial_q  <= {13'b0, start_d.partial};
      quotient_q <= '0;
      bits_q     <= start_d.bits;
    end else if (go) begin
      stream_q   <= stream_d;
      partial_q  <= partial_d;
      quotient_q <= quotient_d;
      bits_q     <= bits_d;
    end
  end

  // An element whose digits are there ----------------------------------------------------------------------------------
  typedef struct packed {
    start_t              start;
    logic [63:0]         quotient;
    logic [63:0]         partial;
    logic                inexact;
    logic [2:0]          index;
    logic                last;
    logic                active;
    rm_e                 rm;
    logic [1:0]          width;
    logic [TagWidth-1:0] tag;
  } done_t;

  logic done_valid_q;
  done_t done_q;
  logic [63:0] word_q;
  fflags_t flags_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) done_valid_q <= 1'b0;
    else if (go) done_valid_q <= ends;
  end
  always_ff @(posedge clk_i) begin
    if (go && ends) begin
      done_q <= '{
        start: start_q, quotient: quotient_d, partial: partial_d[63:0], inexact: partial_d != '0, index: index_q,
        last: last, active: request_q.active[index_q<<width], rm: request_q.rm, width: width, tag: tag_q
      };
    end
  end

  // A quotient of significands is above 1/2; a root has 56 digits.
  logic [63:0] quotient, rounded, value, integer_value;
  logic [54:0] significand;
  logic signed [13:0] exponent;
  fflags_t rounded_flags, flags;
  logic above_one;
  assign above_one       = done_q.start.root | done_q.quotient[63];
  assign quotient    = done_q.start.root ? {done_q.quotient[55:0], 8'b0}
                       : above_one ? done_q.quotient : {done_q.quotient[62:0], 1'b0};
  assign exponent    = above_one ? done_q.start.exponent : done_q.start.exponent - 14'sd1;
  assign significand = {quotient[63:10], (|quotient[9:0]) | done_q.inexact};

  vector_round #(
    .Width(64)
  ) u_round (
    .sign_i(done_q.start.negative),
    .exponent_i(exponent),
    .significand_i(significand),
    .fmt_i(done_q.start.fmt),
    .rm_i(done_q.rm),
    .to_odd_i(1'b0),
    .saturate_i(1'b0),
    .result_o(rounded),
    .flags_o(rounded_flags)
  );

  assign integer_value = done_q.start.remainder ? done_q.partial : done_q.quotient;
  always_comb begin
    value = done_q.start.negative ? -integer_value : integer_value;
    flags = '0;
    if (done_q.start.is_float) begin
      value = rounded;
      flags = rounded_flags;
      if (done_q.start.nan || done_q.start.infinite || done_q.start.zero) begin
        value    = special_code(done_q.start.fmt, done_q.start.nan, done_q.start.negative);
        flags    = '0;
        flags.nv = done_q.start.invalid;
        flags.dz = done_q.start.by_zero;
        // The sign alone.
        if (!done_q.start.nan && !done_q.start.infinite) value &= ~special_code(done_q.start.fmt, 1'b0, 1'b0);
      end
    end
  end

  // The word so far.
  logic [63:0] own, word;
  fflags_t united;
  always_comb begin
    case (done_q.width)
      2'd0: own = 64'hFF;
      2'd1: own = 64'hFFFF;
      2'd2: own = 64'hFFFF_FFFF;
      default: own = '1;
    endcase
    word   = ((done_q.index == '0) ? '0 : word_q) | ((value & own) << ({3'b0, done_q.index, 3'b0} << done_q.width));
    united = ((done_q.index == '0) ? '0 : flags_q) | (done_q.active ? flags : '0);
  end

  always_ff @(posedge clk_i) begin
    if (done_valid_q && go) begin
      word_q  <= word;
      flags_q <= united;
    end
  end

  // Results ------------------------------------------------------------------------------------------------------------
  vector_result_t result;
  logic [1:0] ready, whole;
  assign result = '{value: word, flags: united, saturated: 1'b0};
  assign whole  = {2{done_valid_q & done_q.last}} & {~done_q.start.is_float, done_q.start.is_float};
  assign go     = ~|(whole & ~ready);

  for (genvar kind = 0; kind < 2; kind++) begin : gen_port
    localparam int unsigned Latency = (kind == 0) ? FloatLatency : IntegerLatency;
    pipe_stage #(
      .Width($bits(vector_result_t) + TagWidth),
      .Stages((Latency > 2) ? Latency - 2 : 0)
    ) u_output_stage (
      .clk_i,
      .rst_ni,
      .valid_i(whole[kind]),
      .ready_o(ready[kind]),
      .data_i({result, done_q.tag}),
      .valid_o(valid_o[kind]),
      .ready_i(ready_i[kind]),
      .data_o({result_o[kind], tag_o[kind]})
    );
  end

  // What only other units look at, and what the digits are made of.
  logic unused;
  assign unused = ^{request_q, start_q, done_q.start};

endmodule
