// The 7-bit estimates of 1/x and 1/sqrt(x) (V 1.0, sections 13.9 and 13.10): the table's entry for an interval of
// significands is the estimate at its middle, rounded to 7 bits.
module vector_estimate
  import fp_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Width = 64,  // 16, 32 or 64
  localparam int unsigned Precision = (Width == 64) ? 53 : (Width == 32) ? 24 : 11
) (
  input  logic                 root_i,
  input  logic                 sign_i,
  input  logic signed [11:0]   exponent_i,
  input  logic [Precision-1:0] significand_i,
  input  logic                 zero_i,
  input  logic                 infinite_i,
  input  logic                 nan_i,
  input  logic                 signalling_i,
  input  float_e               fmt_i,
  input  rm_e                  rm_i,
  output logic [63:0]          result_o,
  output fflags_t              flags_o
);

  typedef logic [127:0][6:0] table_t;

  function automatic table_t reciprocals();
    for (int e = 0; e < 128; e++) begin
      // 256 / (e + 128.5), less one, in 128ths.
      int twice;
      twice = 2 * e + 257;
      reciprocals[e] = 7'((131072 + twice) / (2 * twice) - 128);
    end
  endfunction

  function automatic table_t roots();
    for (int i = 0; i < 128; i++) begin
      // The upper half belongs to x in [1, 2), the lower to [2, 4): 256 / sqrt(x), the nearest integer to it.
      int square, found;
      square = ((i >= 64) ? 1 << 23 : 1 << 22);
      found  = 128;
      for (int root = 129; root < 256; root++) begin
        if ((2 * root - 1) * (2 * root - 1) * (2 * (i % 64) + 129) <= 4 * square) found = root;
      end
      roots[i] = 7'(found - 128);
    end
  endfunction

  localparam table_t Reciprocals = reciprocals();
  localparam table_t Roots = roots();

  // Normalized: bias as in fields, that of subnormal numbers is below 1.
  localparam int unsigned CountWidth = $clog2(Precision);
  logic [CountWidth-1:0] zeros;
  logic unused_empty;
  logic [Precision-1:0] normalized;
  logic signed [13:0] bias, field;

  lzc #(
    .Width(Precision)
  ) u_lzc (
    .in_i(significand_i),
    .count_o(zeros),
    .empty_o(unused_empty)
  );
  assign normalized = significand_i << zeros;
  assign bias       = (fmt_i == VF_FP64) ? 14'sd1023 : (fmt_i == VF_FP32) ? 14'sd127 : 14'sd15;
  assign field      = 14'(exponent_i) + bias - $signed({{(14 - CountWidth) {1'b0}}, zeros});

  logic [6:0] entry;
  logic signed [13:0] sum, result_field;
  logic [9:0] fraction;
  logic beyond, to_infinity;

  assign sum = ((root_i ? 14'sd3 : 14'sd2) * bias) - 14'sd1 - field;
  // Small reciprocals lose one or two places.
  assign result_field = root_i ? sum >>> 1 : sum;
  assign beyond       = ~root_i & (field < -14'sd1);
  assign to_infinity  = rm_i == RNE || rm_i == RMM || (rm_i == RDN && sign_i) || (rm_i == RUP && !sign_i);
  assign entry = root_i ? Roots[{field[0], normalized[Precision-2-:6]}] : Reciprocals[normalized[Precision-2-:7]];
  always_comb begin
    fraction = {entry, 3'b0};
    if (result_field == 14'sd0) fraction = {1'b1, entry, 2'b0};
    if (result_field < 14'sd0) fraction = {2'b01, entry, 1'b0};
  end

  logic [63:0] finite;
  logic [10:0] shown;
  assign shown = (result_field < 14'sd1) ? 11'd0 : result_field[10:0];
  always_comb begin
    case (fmt_i)
      VF_FP64: finite = {sign_i, shown, fraction, 42'b0};
      VF_FP32: finite = {32'b0, sign_i, shown[7:0], fraction, 13'b0};
      default: finite = {48'b0, sign_i, shown[4:0], fraction};
    endcase
  end

  always_comb begin
    logic [63:0] infinity;
    infinity = special_code(fmt_i, 1'b0, sign_i);
    result_o = finite;
    flags_o  = '0;
    if (nan_i || (root_i && sign_i && !zero_i)) begin
      result_o   = special_code(fmt_i, 1'b1, 1'b0);
      flags_o.nv = signalling_i | ~nan_i;
    end else if (infinite_i) begin
      result_o = infinity & ~special_code(fmt_i, 1'b0, 1'b0);  // the sign alone
    end else if (zero_i) begin
      result_o   = infinity;
      flags_o.dz = 1'b1;
    end else if (beyond) begin
      result_o   = to_infinity ? infinity : infinity - 64'd1;  // the largest number
      flags_o.of = 1'b1;
      flags_o.nx = 1'b1;
    end
  end

  // Below the table's index; a result's exponent has fewer bits than what it is computed from.
  logic unused;
  assign unused = ^{normalized, result_field, sum[0]};

endmodule
