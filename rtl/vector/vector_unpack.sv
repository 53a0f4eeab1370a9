// A code of one of the formats of at most Width bits, taken apart. Subnormal numbers keep their leading zeros and have
// the exponent of the least normal one.
module vector_unpack
  import vector_pkg::*;
#(
  parameter int unsigned Width = 64,  // 16, 32 or 64
  localparam int unsigned Precision = (Width == 64) ? 53 : (Width == 32) ? 24 : 11
) (
  input  logic [Width-1:0]     code_i,  // above a narrow format's bits stands anything
  input  float_e               fmt_i,
  output logic                 sign_o,
  output logic signed [11:0]   exponent_o,  // of the highest bit of the significand
  output logic [Precision-1:0] significand_o,
  output logic                 zero_o,
  output logic                 infinite_o,
  output logic                 nan_o,
  output logic                 signalling_o
);

  logic [63:0] code;
  logic [10:0] field;
  logic [51:0] digits;  // the fraction of any format, its highest bit at the left
  logic [Precision-2:0] fraction;
  logic [10:0] top;     // the field of all ones
  logic signed [11:0] bias;

  assign fraction = digits[51-:Precision-1];

  always_comb begin
    code            = '0;
    code[Width-1:0] = code_i;
    case (fmt_i)
      VF_E5M2: {sign_o, field, digits} = {code[7], 6'b0, code[6:0], 50'b0};
      VF_E4M3: {sign_o, field, digits} = {code[7], 7'b0, code[6:0], 49'b0};
      VF_BF16: {sign_o, field, digits} = {code[15], 3'b0, code[14:0], 45'b0};
      VF_FP32: {sign_o, field, digits} = {code[31], 3'b0, code[30:0], 29'b0};
      VF_FP64: {sign_o, field, digits} = code;
      default: {sign_o, field, digits} = {code[15], 6'b0, code[14:0], 42'b0};
    endcase
    case (fmt_i)
      VF_E4M3: {top, bias} = {11'd15, 12'sd7};
      VF_BF16, VF_FP32: {top, bias} = {11'd255, 12'sd127};
      VF_FP64: {top, bias} = {11'd2047, 12'sd1023};
      default: {top, bias} = {11'd31, 12'sd15};
    endcase
  end

  logic special, empty;
  assign empty   = fraction == '0;
  // Of E4M3's codes with the highest field only the last is no number.
  assign special = (field == top) & ((fmt_i != VF_E4M3) | (&fraction[Precision-2-:3]));

  assign zero_o       = (field == '0) & empty;
  assign infinite_o   = special & empty;
  assign nan_o        = special & ~empty;
  // The formats of 8 bits have no signalling NaN.
  assign signalling_o = nan_o & ~fraction[Precision-2] & (fmt_i != VF_E5M2);

  assign significand_o = {field != '0, fraction};
  assign exponent_o    = $signed({1'b0, field}) + $signed({11'b0, field == '0}) - bias;

  // A fraction that is wider than the significand belongs to a format that is wider than Width.
  logic unused;
  assign unused = ^digits;

endmodule
