// A lane of the vector unit: one operation on a word of 64 bits enters in every cycle.
//
// The contract with the control.
//
// * op_i is vector_facts(instruction).op of the generated package potluck_vector_pkg. sew_i is vtype's SEW as log2 of
//   bytes. Result and operands have widths of their own, SEW * 2^d_scale, 2^a_scale, 2^b_scale (c has the result's);
//   the table's `widest` is the widest of them. A step works on as many elements as the widest has in 64 bits, 8 to 1.
// * Element i of the step stands at bits [w*i +: w] of a_i, b_i, c_i and result_o, with w the width of that operand:
//   whatever is narrower than the widest lies at the low end of its word (a half, a quarter or an eighth of it). What
//   lies above in an operand does not matter; a result is zero there.
// * a_i is vs2, b_i is vs1 or the scalar or immediate, repeated in every element (FP scalars unboxed by the control:
//   the canonical NaN where a narrower value is not NaN-boxed; immediates extended to the element), c_i the old vd.
//   Of a reduction's step a_i is the accumulator (vs1[0] at first), b_i an element of vs2.
// * mask_i has v0's bit of element i at bit i: what merges choose by and what carries in. It is no condition.
// * active_i has a bit for each byte of the word of the widest operand or result: element i is active if bit
//   i * (bytes of the widest) is set. Only active elements raise flags or saturate. The control does not write others.
// * single_i: the first element alone matters, as in scalar instructions; a division does no others.
// * Comparisons (op_i.compare) return element i's bit at bit i. Instructions on masks (`mask` of the table) are done
//   with sew_i = 3, 64 bits of mask a step.
// * e5m2_i: floats of 8 bits are E5M2, else E4M3 (vtype.altfmt of Zvfofp8min; fmode.src is its complement).
// * frm_i is a valid rounding mode; flags_o are fflags, saturated_o is vxsat.
// * A result appears its class's latency after its operation was taken (registers inside the lane; parameters, from
//   the machine's timing.*), unless an operation of another class has its result in the same cycle: one waits, the
//   divisions' first, then FMA's, conversions', integer, non-computational. Results of one datapath come in order;
//   between datapaths tag_o tells. Divisions take the elements of a word one after another.
`include "assertions.svh"

module vector_lane
  import fp_pkg::*;
  import potluck_vector_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned IntegerLatency = 2,  // timing.integer
  parameter int unsigned FmaLatency     = 3,  // timing.fma
  parameter int unsigned NoncompLatency = 2,  // timing.noncomp
  parameter int unsigned ConvertLatency = 3,  // timing.convert
  parameter int unsigned DivideCycles   = 8,  // timing.divide_per_element
  parameter int unsigned TagWidth       = 4
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                valid_i,
  output logic                ready_o,
  input  logic [TagWidth-1:0] tag_i,
  input  vector_op_t          op_i,
  input  logic [1:0]          sew_i,
  input  logic [2:0]          frm_i,
  input  logic [1:0]          vxrm_i,
  input  logic                e5m2_i,
  input  logic [63:0]         a_i,
  input  logic [63:0]         b_i,
  input  logic [63:0]         c_i,
  input  logic [7:0]          mask_i,
  input  logic [7:0]          active_i,
  input  logic                single_i,

  output logic                valid_o,
  input  logic                ready_i,
  output logic [TagWidth-1:0] tag_o,
  output logic [63:0]         result_o,
  output logic [4:0]          flags_o,
  output logic                saturated_o
);

  vector_request_t request;
  assign request = '{
    op: op_i, sew: sew_i, rm: rm_e'(frm_i), vxrm: vxrm_i, e5m2: e5m2_i, a: a_i, b: b_i, c: c_i, mask: mask_i,
    active: active_i
  };

  // Datapaths, the first of which goes first to the result port.
  localparam int unsigned Units = 7;
  localparam vector_unit_e Unit[Units] = '{
    VU_FLOAT_DIVIDE, VU_DIVIDE, VU_FMA, VU_CONVERT, VU_MULTIPLY, VU_INTEGER, VU_NONCOMP
  };

  logic [Units-1:0] in_valid, in_ready, out_valid, out_ready;
  vector_result_t [Units-1:0] out;
  logic [Units-1:0][TagWidth-1:0] out_tag;

  always_comb begin
    ready_o = 1'b0;
    for (int i = 0; i < int'(Units); i++) begin
      in_valid[i] = valid_i & (op_i.unit == Unit[i]);
      if (op_i.unit == Unit[i]) ready_o = in_ready[i];
    end
  end

  // One divider with a port for either kind.
  vector_divider #(
    .Cycles(DivideCycles),
    .IntegerLatency(IntegerLatency),
    .FloatLatency(FmaLatency),
    .TagWidth(TagWidth)
  ) u_divider (
    .clk_i,
    .rst_ni,
    .valid_i(|in_valid[1:0]),
    .ready_o(in_ready[0]),
    .request_i(request),
    .single_i,
    .tag_i,
    .valid_o(out_valid[1:0]),
    .ready_i(out_ready[1:0]),
    .result_o(out[1:0]),
    .tag_o(out_tag[1:0])
  );
  assign in_ready[1] = in_ready[0];

  vector_fma #(
    .Latency(FmaLatency),
    .TagWidth(TagWidth)
  ) u_fma (
    .clk_i,
    .rst_ni,
    .valid_i(in_valid[2]),
    .ready_o(in_ready[2]),
    .request_i(request),
    .tag_i,
    .valid_o(out_valid[2]),
    .ready_i(out_ready[2]),
    .result_o(out[2]),
    .tag_o(out_tag[2])
  );

  vector_convert #(
    .Latency(ConvertLatency),
    .TagWidth(TagWidth)
  ) u_convert (
    .clk_i,
    .rst_ni,
    .valid_i(in_valid[3]),
    .ready_o(in_ready[3]),
    .request_i(request),
    .tag_i,
    .valid_o(out_valid[3]),
    .ready_i(out_ready[3]),
    .result_o(out[3]),
    .tag_o(out_tag[3])
  );

  vector_multiplier #(
    .Latency(IntegerLatency),
    .TagWidth(TagWidth)
  ) u_multiplier (
    .clk_i,
    .rst_ni,
    .valid_i(in_valid[4]),
    .ready_o(in_ready[4]),
    .request_i(request),
    .tag_i,
    .valid_o(out_valid[4]),
    .ready_i(out_ready[4]),
    .result_o(out[4]),
    .tag_o(out_tag[4])
  );

  vector_alu #(
    .Latency(IntegerLatency),
    .TagWidth(TagWidth)
  ) u_alu (
    .clk_i,
    .rst_ni,
    .valid_i(in_valid[5]),
    .ready_o(in_ready[5]),
    .request_i(request),
    .tag_i,
    .valid_o(out_valid[5]),
    .ready_i(out_ready[5]),
    .result_o(out[5]),
    .tag_o(out_tag[5])
  );

  vector_noncomp #(
    .Latency(NoncompLatency),
    .TagWidth(TagWidth)
  ) u_noncomp (
    .clk_i,
    .rst_ni,
    .valid_i(in_valid[6]),
    .ready_o(in_ready[6]),
    .request_i(request),
    .tag_i,
    .valid_o(out_valid[6]),
    .ready_i(out_ready[6]),
    .result_o(out[6]),
    .tag_o(out_tag[6])
  );

  vector_result_t chosen;
  always_comb begin
    valid_o   = |out_valid;
    out_ready = '0;
    chosen    = '0;
    tag_o     = '0;
    for (int i = int'(Units) - 1; i >= 0; i--) begin
      if (out_valid[i]) begin
        out_ready    = '0;
        out_ready[i] = ready_i;
        chosen       = out[i];
        tag_o        = out_tag[i];
      end
    end
  end
  assign result_o    = chosen.value;
  assign flags_o     = chosen.flags;
  assign saturated_o = chosen.saturated;

  `POTLUCK_ASSERT(Known, valid_i |-> op_i.unit != VU_NONE)

endmodule
