// Adder of a word of elements: a bit between two bytes passes the carry on, or, between two elements, keeps the carry
// of the lower one and starts the upper one with its own.
module vector_adder (
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  input  logic [7:0]  carry_i,  // into the element that a byte belongs to
  input  logic [7:0]  first_i,  // bytes that are the lowest of an element
  output logic [63:0] sum_o,
  output logic [7:0]  carry_o   // out of every byte that is the highest of an element
);

  logic [72:0] a, b, sum;

  always_comb begin
    a = '0;
    b = '0;
    for (int i = 0; i < 8; i++) begin
      a[9*i]      = first_i[i] ? carry_i[i] : 1'b1;
      b[9*i]      = first_i[i] & carry_i[i];
      a[9*i+1+:8] = a_i[8*i+:8];
      b[9*i+1+:8] = b_i[8*i+:8];
    end
  end

  assign sum = a + b;

  for (genvar i = 0; i < 8; i++) begin : gen_byte
    assign sum_o[8*i+:8] = sum[9*i+1+:8];
    assign carry_o[i]    = sum[9*i+9];
  end

  // The lowest carry is known.
  logic unused;
  assign unused = sum[0];

endmodule
