// Every element clipped to what its lower half holds, which is where the result stands.
module vector_clip (
  input  logic [1:0]  width_i,
  input  logic [63:0] a_i,
  input  logic        signed_i,
  output logic [63:0] value_o,
  output logic [7:0]  beyond_o  // of each element: it did not fit
);

  logic [3:1][63:0] value;
  logic [3:1][7:0] beyond;

  for (genvar width = 1; width < 4; width++) begin : gen_width
    localparam int unsigned Bits = 8 << width;
    localparam int unsigned Half = Bits / 2;
    for (genvar i = 0; i < 64 / Bits; i++) begin : gen_element
      logic [Bits-1:0] given;
      logic negative;
      assign given    = a_i[Bits*i+:Bits];
      assign negative = signed_i & given[Bits-1];
      // What is above the half, and its sign, if there is one, are all alike.
      assign beyond[width][i] = (given[Bits-1:Half] != {Half{negative}}) | (signed_i & (given[Half-1] != negative));
      assign value[width][Bits*i+:Bits] = beyond[width][i]
          ? {{Half{1'b0}}, negative ^ ~signed_i, {(Half - 1) {~negative}}} : given;
    end
    assign beyond[width][7:64/Bits] = '0;
  end

  always_comb begin
    case (width_i)
      2'd1: {value_o, beyond_o} = {value[1], beyond[1]};
      2'd2: {value_o, beyond_o} = {value[2], beyond[2]};
      default: {value_o, beyond_o} = {value[3], beyond[3]};
    endcase
  end

endmodule
