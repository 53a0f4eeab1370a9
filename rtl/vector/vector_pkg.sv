// What the units of a vector lane share: the request, the result, elements of a word.
package vector_pkg;

  import potluck_vector_pkg::*;
  import fp_pkg::*;

  typedef struct packed {
    vector_op_t  op;
    logic [1:0]  sew;
    rm_e         rm;
    logic [1:0]  vxrm;
    logic        e5m2;    // elements of 8 bits that are floats are E5M2, else E4M3
    logic [63:0] a;
    logic [63:0] b;
    logic [63:0] c;
    logic [7:0]  mask;    // of each element
    logic [7:0]  active;  // of each byte of the widest operand or result
  } vector_request_t;

  typedef struct packed {
    logic [63:0] value;
    fflags_t     flags;
    logic        saturated;
  } vector_result_t;

  // Floating-point formats of elements, by their width.
  typedef enum logic [2:0] {
    VF_E5M2 = 3'd0,
    VF_E4M3 = 3'd1,
    VF_FP16 = 3'd2,
    VF_BF16 = 3'd3,
    VF_FP32 = 3'd4,
    VF_FP64 = 3'd5
  } float_e;

  // verilator lint_off UNUSEDSIGNAL
  // Widths are binary logarithms of bytes.
  function automatic logic [1:0] width_of(input logic [1:0] sew, input logic signed [2:0] scale);
    return sew + scale[1:0];  // modulo four: the sum is a width, too
  endfunction

  // verilator lint_on UNUSEDSIGNAL

  function automatic logic [1:0] widest_of(input logic [1:0] x, input logic [1:0] y);
    return (x > y) ? x : y;
  endfunction

  function automatic float_e float_of(input logic [1:0] width, input logic bf16, input logic e5m2);
    case (width)
      2'd0: return e5m2 ? VF_E5M2 : VF_E4M3;
      2'd1: return bf16 ? VF_BF16 : VF_FP16;
      2'd2: return VF_FP32;
      default: return VF_FP64;
    endcase
  endfunction

  // Element number `index` of a word, with what lies above it.
  function automatic logic [63:0] element(input logic [63:0] word, input logic [1:0] width, input int unsigned index);
    return word >> (32'd8 * index << width);
  endfunction

  // Elements at the low end of a word spread out to twice, four or eight times their width.
  function automatic logic [63:0] extended(input logic [63:0] word, input logic [1:0] from, input logic [1:0] to,
                                           input logic is_signed);
    logic [63:0] found, wider;
    found = word;
    if (from == 2'd0 && to != 2'd0) begin
      for (int i = 0; i < 4; i++) wider[16*i+:16] = {{8{is_signed & found[8*i+7]}}, found[8*i+:8]};
      found = wider;
    end
    if (from <= 2'd1 && to >= 2'd2) begin
      for (int i = 0; i < 2; i++) wider[32*i+:32] = {{16{is_signed & found[16*i+15]}}, found[16*i+:16]};
      found = wider;
    end
    if (from <= 2'd2 && to == 2'd3) found = {{32{is_signed & found[31]}}, found[31:0]};
    return found;
  endfunction

  // The low parts of elements, moved together at the low end of the word.
  function automatic logic [63:0] narrowed(input logic [63:0] word, input logic [1:0] from, input logic [1:0] to);
    logic [63:0] found;
    found = word;
    if (from == 2'd3 && to <= 2'd2) found = {32'b0, found[31:0]};
    if (from >= 2'd2 && to <= 2'd1) found = {32'b0, found[47:32], found[15:0]};
    if (from >= 2'd1 && to == 2'd0) found = {32'b0, found[55:48], found[39:32], found[23:16], found[7:0]};
    return found;
  endfunction

  // Results of four slices as elements of a word.
  function automatic logic [63:0] collected(input logic [3:0][63:0] result, input logic [1:0] width);
    case (width)
      2'd0: return {32'b0, result[3][7:0], result[2][7:0], result[1][7:0], result[0][7:0]};
      2'd1: return {result[3][15:0], result[2][15:0], result[1][15:0], result[0][15:0]};
      2'd2: return {result[1][31:0], result[0][31:0]};
      default: return result[0];
    endcase
  endfunction

  // Which of a step's first four elements are active; `width` is the widest one's.
  // verilator lint_off UNUSEDSIGNAL
  function automatic logic [3:0] active_elements(input logic [7:0] active, input logic [1:0] width);
    case (width)
      2'd0: return active[3:0];
      2'd1: return {active[6], active[4], active[2], active[0]};
      2'd2: return {2'b0, active[4], active[0]};
      default: return {3'b0, active[0]};
    endcase
  endfunction
  // verilator lint_on UNUSEDSIGNAL

  // Canonical NaN or infinity.
  function automatic logic [63:0] special_code(input float_e fmt, input logic nan, input logic sign);
    logic [63:0] code;
    case (fmt)
      VF_E5M2: code = nan ? 64'h7F : {56'b0, sign, 7'h7C};
      VF_E4M3: code = 64'h7F;
      VF_BF16: code = {48'b0, sign & ~nan, 8'hFF, nan, 6'b0};
      VF_FP32: code = {32'b0, sign & ~nan, 8'hFF, nan, 22'b0};
      VF_FP64: code = {sign & ~nan, 11'h7FF, nan, 51'b0};
      default: code = {48'b0, sign & ~nan, 5'h1F, nan, 9'b0};
    endcase
    return code;
  endfunction

endpackage
