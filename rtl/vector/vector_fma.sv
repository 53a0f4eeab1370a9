// Multiply-adds on the elements of a word: one of 64 bits, two of 32, four of 16. The first slice is as wide as the
// word and serves every format, the second FP32 and what is narrower, the others 16 bits.
module vector_fma
  import fp_pkg::*;
  import potluck_vector_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Latency  = 3,
  parameter int unsigned TagWidth = 1
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                valid_i,
  output logic                ready_o,
  input  vector_request_t     request_i,
  input  logic [TagWidth-1:0] tag_i,
  output logic                valid_o,
  input  logic                ready_i,
  output vector_result_t      result_o,
  output logic [TagWidth-1:0] tag_o
);

  logic [1:0] d_width, a_width, b_width;
  float_e d_fmt, a_fmt, b_fmt;
  assign d_width = width_of(request_i.sew, request_i.op.d_scale);
  assign a_width = width_of(request_i.sew, request_i.op.a_scale);
  assign b_width = width_of(request_i.sew, request_i.op.b_scale);
  assign d_fmt   = float_of(d_width, request_i.op.bf16, request_i.e5m2);
  assign a_fmt   = float_of(a_width, request_i.op.bf16, request_i.e5m2);
  assign b_fmt   = float_of(b_width, request_i.op.bf16, request_i.e5m2);

  // Factors and addend by operation; the first factor is b, but for what has none.
  logic [63:0] x, y, z;
  logic [1:0] x_width, y_width, z_width;
  float_e x_fmt, y_fmt, z_fmt;
  logic one, zero;
  always_comb begin
    {x, x_width, x_fmt} = {request_i.b, b_width, b_fmt};
    {y, y_width, y_fmt} = {request_i.a, a_width, a_fmt};
    {z, z_width, z_fmt} = {request_i.c, d_width, d_fmt};
    one  = 1'b0;
    zero = 1'b0;
    case (request_i.op.code)
      VOP_FADD: begin
        one = 1'b1;
        {z, z_width, z_fmt} = {request_i.a, a_width, a_fmt};
      end
      VOP_FMUL: zero = 1'b1;
      VOP_FMADD: begin
        {y, y_width, y_fmt} = {request_i.c, d_width, d_fmt};
        {z, z_width, z_fmt} = {request_i.a, a_width, a_fmt};
      end
      VOP_FWIDEN: begin
        {x, x_width, x_fmt} = {request_i.a, a_width, a_fmt};
        one  = 1'b1;
        zero = 1'b1;
      end
      default: ;
    endcase
  end

  // What accompanies an operation beside its first element.
  typedef struct packed {
    logic [1:0]          width;
    logic [3:0]          active;
    logic [TagWidth-1:0] tag;
  } context_t;
  context_t ctx_in, ctx_out;
  assign ctx_in = {d_width, active_elements(request_i.active, d_width), tag_i};

  logic [3:0] ready, valid;
  logic [3:0][63:0] result;
  fflags_t [3:0] flags;

  for (genvar i = 0; i < 4; i++) begin : gen_slice
    localparam int unsigned Width = (i == 0) ? 64 : (i == 1) ? 32 : 16;
    localparam int unsigned SliceTag = (i == 0) ? $bits(context_t) : 1;
    logic [63:0] x_element, y_element, z_element;
    assign x_element = element(x, x_width, i);
    assign y_element = element(y, y_width, i);
    assign z_element = element(z, z_width, i);
    logic [Width-1:0] slice_result;
    logic [SliceTag-1:0] slice_tag;
    vector_fma_slice #(
      .Width(Width),
      .Latency(Latency),
      .TagWidth(SliceTag)
    ) u_slice (
      .clk_i,
      .rst_ni,
      .valid_i,
      .ready_o(ready[i]),
      .a_i(x_element[Width-1:0]),
      .b_i(y_element[Width-1:0]),
      .c_i(z_element[Width-1:0]),
      .a_fmt_i(x_fmt),
      .b_fmt_i(y_fmt),
      .c_fmt_i(z_fmt),
      .fmt_i(d_fmt),
      .b_one_i(one),
      .c_zero_i(zero),
      .negate_product_i(request_i.op.negate_product),
      .negate_addend_i(request_i.op.negate_addend),
      .rm_i(request_i.rm),
      .tag_i(SliceTag'(ctx_in)),
      .valid_o(valid[i]),
      .ready_i,
      .result_o(slice_result),
      .flags_o(flags[i]),
      .tag_o(slice_tag)
    );
    always_comb begin
      result[i]            = '0;
      result[i][Width-1:0] = slice_result;
    end
    // What of a word does not belong to the slice.
    logic unused_bits;
    assign unused_bits = ^{x_element, y_element, z_element};
    if (i == 0) begin : gen_tag
      assign ctx_out = slice_tag;
    end else begin : gen_no_tag
      logic unused_tag;
      assign unused_tag = slice_tag;
    end
  end

  // The first slice speaks for all.
  assign ready_o = ready[0];
  assign valid_o = valid[0];
  assign tag_o   = ctx_out.tag;

  always_comb begin
    result_o       = '0;
    result_o.value = collected(result, ctx_out.width);
    for (int i = 0; i < 4; i++) if (ctx_out.active[i]) result_o.flags |= flags[i];
  end

  // What only other units look at.
  logic unused;
  assign unused = ^{ready[3:1], valid[3:1], request_i};

endmodule
