// Rotates items upwards: item i goes to place i + by, modulo their number, a power of two.
module pot_rotator #(
  parameter int unsigned Items = 64,
  parameter int unsigned Width = 8,
  localparam int unsigned ByWidth = $clog2(Items)
) (
  input  logic [Items-1:0][Width-1:0] items_i,
  input  logic [ByWidth-1:0]          by_i,
  output logic [Items-1:0][Width-1:0] items_o
);

  logic [ByWidth:0][Items-1:0][Width-1:0] stage;
  assign stage[0] = items_i;
  for (genvar s = 0; s < ByWidth; s++) begin : gen_stage
    for (genvar i = 0; i < Items; i++) begin : gen_item
      assign stage[s+1][i] = by_i[s] ? stage[s][(i + Items - (1 << s)) % Items] : stage[s][i];
    end
  end
  assign items_o = stage[ByWidth];

endmodule
