// Products of the elements of two words, each element twice as wide: one array of 64 by 64 bits in which a byte of b
// meets the bytes of a of its own element only, so that the products of smaller elements do not touch each other.
//
// The array is unsigned. A factor that is negative is 2^bits too large there, and the product by the other factor in
// its upper half.
module vector_product (
  input  logic [1:0]  width_i,
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  input  logic        a_signed_i,
  input  logic        b_signed_i,
  output logic [63:0] low_o,  // halves of the products, element by element
  output logic [63:0] high_o
);

  logic [2:0] low_bits;
  logic [7:0] first;
  logic [7:0] a_negative, b_negative;  // of the element that a byte belongs to
  logic [127:0] product;

  assign low_bits = 3'((4'd1 << width_i) - 4'd1);
  always_comb begin
    product = '0;
    for (int i = 0; i < 8; i++) begin
      logic [63:0] own;
      first[i]      = (3'(i) & low_bits) == 3'd0;
      a_negative[i] = a_signed_i & a_i[{3'(i)|low_bits, 3'd7}];
      b_negative[i] = b_signed_i & b_i[{3'(i)|low_bits, 3'd7}];
      own = '0;
      for (int j = 0; j < 8; j++) begin
        if ((3'(i) | low_bits) == (3'(j) | low_bits)) own[8*j+:8] = a_i[8*j+:8];
      end
      product += {56'b0, 72'(own) * 72'(b_i[8*i+:8])} << (8 * i);
    end
  end

  logic [63:0] high, less_b, less_both, a_excess, b_excess;
  always_comb begin
    case (width_i)
      2'd0:
      for (int i = 0; i < 8; i++) begin
        low_o[8*i+:8] = product[16*i+:8];
        high[8*i+:8]  = product[16*i+8+:8];
      end
      2'd1:
      for (int i = 0; i < 4; i++) begin
        low_o[16*i+:16] = product[32*i+:16];
        high[16*i+:16]  = product[32*i+16+:16];
      end
      2'd2:
      for (int i = 0; i < 2; i++) begin
        low_o[32*i+:32] = product[64*i+:32];
        high[32*i+:32]  = product[64*i+32+:32];
      end
      default: {high, low_o} = product;
    endcase
    for (int i = 0; i < 8; i++) begin
      a_excess[8*i+:8] = a_negative[i] ? b_i[8*i+:8] : 8'd0;
      b_excess[8*i+:8] = b_negative[i] ? a_i[8*i+:8] : 8'd0;
    end
  end

  logic [7:0] unused_carry[2];
  vector_adder u_less_b (
    .a_i(high),
    .b_i(~a_excess),
    .carry_i('1),
    .first_i(first),
    .sum_o(less_b),
    .carry_o(unused_carry[0])
  );
  vector_adder u_less_both (
    .a_i(less_b),
    .b_i(~b_excess),
    .carry_i('1),
    .first_i(first),
    .sum_o(less_both),
    .carry_o(unused_carry[1])
  );
  assign high_o = less_both;

  logic unused;
  assign unused = ^{unused_carry[0], unused_carry[1]};

endmodule
