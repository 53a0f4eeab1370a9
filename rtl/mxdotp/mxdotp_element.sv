// Decodes one element of up to 8 bits: E5M2, E4M3, E3M2, E2M3 (in the low 6 bits), E2M1 (in the low 4), INT8.
//
// Floating formats share one shape, a 4-bit significand with 3 bits below the binary point and an unbiased exponent;
// formats of which the lane has no use cost nothing, as their cases are constant.
module mxdotp_element
  import mxdotp_pkg::*;
#(
  parameter bit EnableFp8  = 1'b1,
  parameter bit EnableFp6  = 1'b0,
  parameter bit EnableFp4  = 1'b1,
  parameter bit EnableInt8 = 1'b0,
  parameter int unsigned MantWidth = 4  // 8 with EnableInt8: the magnitude of -128 has 8 bits
) (
  input  logic [7:0]                 code_i,
  input  elem_fmt_e                  fmt_i,
  output logic                       sign_o,
  output logic signed [ExpWidth-1:0] exp_o,
  output logic [MantWidth-1:0]       mant_o,
  output logic                       zero_o,
  output logic                       inf_o,
  output logic                       nan_o,
  output logic                       signalling_o
);

  // Exponent field, fraction left-aligned to three bits, bias.
  logic [4:0] field;
  logic [2:0] fraction;
  logic [4:0] bias;

  always_comb begin
    sign_o   = code_i[7];
    field    = code_i[6:2];
    fraction = {code_i[1:0], 1'b0};
    bias     = 5'd15;
    if (EnableFp8 && fmt_i == E4M3) begin
      field    = {1'b0, code_i[6:3]};
      fraction = code_i[2:0];
      bias     = 5'd7;
    end
    if (EnableFp4 && fmt_i == E2M1) begin
      sign_o   = code_i[3];
      field    = {3'b0, code_i[2:1]};
      fraction = {code_i[0], 2'b0};
      bias     = 5'd1;
    end
    if (EnableFp6 && fmt_i == E3M2) begin
      sign_o   = code_i[5];
      field    = {2'b0, code_i[4:2]};
      fraction = {code_i[1:0], 1'b0};
      bias     = 5'd3;
    end
    if (EnableFp6 && fmt_i == E2M3) begin
      sign_o   = code_i[5];
      field    = {3'b0, code_i[4:3]};
      fraction = code_i[2:0];
      bias     = 5'd1;
    end
  end

  logic normal;
  assign normal = |field;
  assign exp_o  = $signed({1'b0, field}) + $signed({5'b0, ~normal}) - $signed({1'b0, bias});

  if (EnableInt8) begin : gen_int8
    logic [7:0] magnitude;
    assign magnitude = code_i[7] ? ~code_i + 8'd1 : code_i;
    assign mant_o = (fmt_i == INT8) ? magnitude : {4'b0, normal, fraction};
  end else begin : gen_float
    assign mant_o = {normal, fraction};
  end

  // OCP: E4M3 has one NaN and no infinity, the narrower formats neither.
  assign zero_o       = mant_o == '0;
  assign inf_o        = EnableFp8 & (fmt_i == E5M2) & (&field) & (fraction == 3'd0);
  assign nan_o        = EnableFp8 & (((fmt_i == E5M2) & (&field) & (fraction != 3'd0))
                                     | ((fmt_i == E4M3) & (&code_i[6:0])));
  assign signalling_o = EnableFp8 & (fmt_i == E5M2) & nan_o & ~fraction[2];

endmodule
