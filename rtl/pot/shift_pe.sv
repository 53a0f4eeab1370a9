// Activation times magnitude of a power-of-two weight, by shifting and at most one addition.
//
// With one code set the control is the magnitude code, whose fields choose the shifts of two terms (or one). With all
// of them it says of a level odd << shift whether it is not 0, and odd and shift: 1, 3 and 5 take one adder, whose
// second term is twice or four times the activation, and products of 3 and 5 are shifted by one at most.
module shift_pe
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet = SET_ANY  // a code_set_e, or SET_ANY
) (
  input  logic signed [7:0]  activation_i,
  input  logic [7:0]         control_i,  // of weight_decoder
  output logic signed [14:0] product_o
);

  if (CodeSet == SET_ANY) begin : gen_any
    logic present;
    logic [1:0] odd;
    logic [2:0] shift;
    logic signed [9:0] second;
    logic signed [10:0] multiple;
    logic signed [11:0] near;

    assign {present, odd, shift} = control_i[5:0];
    assign second    = !odd[1] ? 10'sd0 : odd[0] ? 10'(activation_i) <<< 2 : 10'(activation_i) <<< 1;
    assign multiple  = 11'(activation_i) + 11'(second);
    // Twelve bits hold all: what was added to is shifted by one at most, the activation alone has eight.
    assign near      = 12'(multiple) <<< shift[1:0];
    assign product_o = !present ? 15'sd0 : shift[2] ? 15'(near) <<< 4 : 15'(near);
  end else begin : gen_one
    localparam int unsigned Sign = int'(PRODUCT_BITS[CodeSet]) - 1;
    localparam int unsigned FirstBits = int'(FIRST_BITS[CodeSet]);
    logic signed [14:0] product;

    if (FirstBits == 3) begin : gen_shifter
      logic [3:0] shift;
      logic signed [10:0] near;
      assign shift   = FIRST_SHIFTS[CodeSet][control_i[2:0]];
      assign near    = 11'(activation_i) <<< shift[1:0];
      assign product = (shift == NOTHING) ? 15'sd0 : shift[2] ? 15'(near) <<< 4 : 15'(near);
    end else begin : gen_terms
      logic [2:0] first_code, second_code;
      logic [3:0] first_shift, second_shift;
      logic signed [14:0] first, second;
      assign first_code   = control_i[2:0] >> (3 - FirstBits);
      assign second_code  = control_i[2:0] & ((3'd1 << (3 - FirstBits)) - 3'd1);
      assign first_shift  = FIRST_SHIFTS[CodeSet][first_code];
      assign second_shift = SECOND_SHIFTS[CodeSet][second_code];
      assign first   = (first_shift == NOTHING) ? 15'sd0 : 15'(activation_i) <<< first_shift[2:0];
      assign second  = (second_shift == NOTHING) ? 15'sd0 : 15'(activation_i) <<< second_shift[2:0];
      assign product = first + second;
    end

    // Upper bits are copies of the sign: an adder ends where the product does.
    for (genvar b = 0; b < 15; b++) begin : gen_bit
      assign product_o[b] = product[(b < Sign) ? b : Sign];
    end
    logic unused_sign;
    assign unused_sign = ^product;
  end

  // A set needs three bits of the control, all of them six.
  logic unused;
  assign unused = ^control_i[7:3];

endmodule
