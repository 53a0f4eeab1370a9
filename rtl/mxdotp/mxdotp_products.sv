// The products of one operand pair, each as a sign, a small integer and how far it stands above the sum's last bit.
//
// Eight general multipliers take the 8-bit elements, or the low nibbles of E2M1. The high nibbles have multipliers
// of their own, whose products need no shift: E2M1 values are multiples of 1/2 up to 6.
module mxdotp_products
  import mxdotp_pkg::*;
#(
  parameter bit EnableFp8  = 1'b1,
  parameter bit EnableFp6  = 1'b0,
  parameter bit EnableFp4  = 1'b1,
  parameter bit EnableInt8 = 1'b0,
  parameter int unsigned ProductWidth = 8
) (
  input  logic [OperandWidth-1:0]               a_i,
  input  logic [OperandWidth-1:0]               b_i,
  input  elem_fmt_e                             fmt_i,
  output logic [Elements-1:0]                   sign_o,
  output logic [Elements-1:0][ProductWidth-1:0] product_o,
  output logic [Elements-1:0][5:0]              shift_o,
  output logic signed [11:0]                    high_o,  // sum over the high nibbles, in units of 1/4
  output special_t                              special_o
);

  localparam int unsigned MantWidth = ProductWidth / 2;

  logic [Elements-1:0] nan, signalling, inf_zero, pos_inf, neg_inf;

  for (genvar i = 0; i < Elements; i++) begin : gen_product
    logic [1:0][7:0] code;
    logic [1:0] sign, zero, inf, is_nan, is_signalling;
    logic [1:0][MantWidth-1:0] mant;
    logic [1:0][ExpWidth-1:0] exp;

    always_comb begin
      code[0] = a_i[8*i+:8];
      code[1] = b_i[8*i+:8];
      if (EnableFp4 && fmt_i == E2M1) begin
        code[0] = {4'b0, a_i[4*i+:4]};
        code[1] = {4'b0, b_i[4*i+:4]};
      end
    end

    for (genvar side = 0; side < 2; side++) begin : gen_side
      mxdotp_element #(
        .EnableFp8(EnableFp8),
        .EnableFp6(EnableFp6),
        .EnableFp4(EnableFp4),
        .EnableInt8(EnableInt8),
        .MantWidth(MantWidth)
      ) u_element (
        .code_i(code[side]),
        .fmt_i,
        .sign_o(sign[side]),
        .exp_o(exp[side]),
        .mant_o(mant[side]),
        .zero_o(zero[side]),
        .inf_o(inf[side]),
        .nan_o(is_nan[side]),
        .signalling_o(is_signalling[side])
      );
    end

    // Six fraction bits for floating elements, twelve for INT8.
    logic signed [6:0] exponent;
    logic [6:0] shift;
    assign exponent = 7'($signed(exp[0])) + 7'($signed(exp[1]));
    always_comb begin
      shift = 7'(SumFraction - 6) + exponent;
      if (EnableInt8 && fmt_i == INT8) shift = 7'(SumFraction - 12);
    end

    assign sign_o[i]    = sign[0] ^ sign[1];
    assign product_o[i] = ProductWidth'(mant[0]) * ProductWidth'(mant[1]);
    assign shift_o[i]   = shift[5:0];

    assign nan[i]        = |is_nan;
    assign signalling[i] = |is_signalling;
    assign inf_zero[i]   = (inf[0] & zero[1]) | (inf[1] & zero[0]);
    assign pos_inf[i]    = (|inf) & ~nan[i] & ~inf_zero[i] & ~sign_o[i];
    assign neg_inf[i]    = (|inf) & ~nan[i] & ~inf_zero[i] & sign_o[i];

    // Shifts lie in 0..58: the exponent's range is that of E5M2, twice -14..15.
    logic unused_shift;
    assign unused_shift = shift[6];
  end

  always_comb begin
    special_o.nan        = |nan;
    special_o.signalling = |signalling;
    special_o.inf_zero   = |inf_zero;
    special_o.pos_inf    = |pos_inf;
    special_o.neg_inf    = |neg_inf;
  end

  if (EnableFp4) begin : gen_high_nibbles
    // Twice the magnitude of an E2M1 code.
    function automatic logic [3:0] halves(input logic [2:0] code);
      case (code)
        3'd5:    halves = 4'd6;
        3'd6:    halves = 4'd8;
        3'd7:    halves = 4'd12;
        default: halves = {1'b0, code};
      endcase
    endfunction

    logic signed [11:0] sum;
    logic [7:0] product;
    always_comb begin
      sum = '0;
      product = '0;
      for (int i = Elements; i < 2 * Elements; i++) begin
        product = 8'(halves(a_i[4*i+:3])) * 8'(halves(b_i[4*i+:3]));
        if (a_i[4*i+3] ^ b_i[4*i+3]) sum = sum - $signed({4'b0, product});
        else sum = sum + $signed({4'b0, product});
      end
    end
    assign high_o = (fmt_i == E2M1) ? sum : '0;
  end else begin : gen_no_high_nibbles
    assign high_o = '0;
  end

endmodule
